//! What is wrong with Flyte's files, by the whole message: each names the key as its author wrote it, and the file.
//!
//! Whatever the check of this program's own files finds is said in Flyte's terms, too.

use super::*;

#[test]
fn errors_name_the_key_and_the_file_that_flyte_has() {
    let supported = "K8s, AWS, GCP, Azure, Vault or Global";
    refuses(
        "webhook: { secretManagerType: Conjur }",
        &format!("DIR/flyte.yaml: webhook.secretManagerType: \"Conjur\" is no secret manager; use {supported}"),
    );
    refuses(
        "webhook: { secretManagerTypes: [K8s, Embedded] }",
        &format!("DIR/flyte.yaml: webhook.secretManagerTypes[1]: Embedded is not supported yet; use {supported}"),
    );
    refuses(
        "webhook: { secretManagerType: Embedded }",
        &format!("DIR/flyte.yaml: webhook.secretManagerType: Embedded is not supported yet; use {supported}"),
    );
    refuses(
        "webhook: { secretEnvVarPrefix: _X_ }",
        &format!(
            "configuration: webhook.secretManagerTypes: is missing, and Flyte 2 takes Embedded then, which is not supported yet; \
             name {supported}"
        ),
    );
}

#[test]
fn a_value_is_wrong_at_its_key_whoever_finds_it() {
    for (yaml, reason) in [
        ("[]", ": must be a mapping"),
        ("webhook: 7", ": webhook: must be a mapping"),
        ("Webhook: { AwsSecretManager: [] }", ": Webhook.AwsSecretManager: must be a mapping"),
        ("webhook: {\nwebhook: {", ", line 2, column 10: unclosed bracket '{'"),
        ("webhook: {}\nwebhook: {}", ", line 2, column 1: duplicate mapping key: webhook"),
        ("webhook: { listenPort: 70000 }", ": webhook.listenPort: must be a whole number between 0 and 65535"),
        ("webhook: { listenPort: https }", ": webhook.listenPort: must be a whole number between 0 and 65535"),
        ("webhook: { listenPort: 10254 }", ": webhook.listenPort: 10254 is the port for health and metrics already"),
        ("webhook: { servicePort: 0 }", ": webhook.servicePort: must be a whole number between 1 and 65535"),
        ("webhook: { localCert: maybe }", ": webhook.localCert: must be true or false"),
        (
            "secrets: { env-prefix: '' }",
            ": secrets.env-prefix: is empty: any pod could ask for any variable of the webhook",
        ),
        ("secrets: { secrets-prefix: a }", ": secrets.secrets-prefix: \"a\" is no absolute path"),
        ("webhook: { certDir: [/a] }", ": webhook.certDir: must be text"),
        ("webhook: { secretManagerTypes: { K8s: true } }", ": webhook.secretManagerTypes: must be a list of text"),
        (
            "webhook: { SERVICENAME: Flyte }",
            ": webhook.SERVICENAME: \"Flyte\" is no name of an object; use a-z, 0-9, - and . between them",
        ),
        (
            "webhook: { serviceName: a.b }",
            ": webhook.serviceName: \"a.b\" is no name of a Service; use 1 to 63 of a-z, 0-9 and -, a letter first",
        ),
        (
            "webhook: { secretName: '' }",
            ": webhook.secretName: \"\" is no name of an object; use a-z, 0-9, - and . between them",
        ),
        (
            "webhook: { secretManagerTypes: [K8s], secretEnvVarPrefix: 'a=b' }",
            ": webhook.secretEnvVarPrefix: \"a=b\" cannot start the name of a variable; use letters, digits and _",
        ),
        (
            "webhook: { secretManagerType: Vault, vaultSecretManager: { kvVersion: 3 } }",
            ": webhook.vaultSecretManager.kvVersion: \"3\" is no version of Vault's KV engine; use \"1\" or \"2\"",
        ),
        (
            "webhook: { secretManagerType: Vault, vaultSecretManager: { annotations: { a: [] } } }",
            ": webhook.vaultSecretManager.annotations.a: must be text",
        ),
        (
            "webhook: { secretManagerType: AWS, awsSecretManager: { resources: { limits: 3 } } }",
            ": webhook.awsSecretManager.resources.limits: must be a mapping",
        ),
        (
            "webhook: { namespaceSelector: { matchLabel: {} } }",
            ": webhook.namespaceSelector.matchLabel: unknown field `matchLabel`, expected `matchLabels` or `matchExpressions`",
        ),
        (
            "webhook: { namespaceSelector: { matchExpressions: [{ key: a, operator: in }] } }",
            ": webhook.namespaceSelector.matchExpressions[0].operator: unknown variant `in`, expected one of `In`, `NotIn`, \
             `Exists`, `DoesNotExist`",
        ),
        (
            "webhook: { namespaceSelector: { matchExpressions: [{ key: a, operator: In }] } }",
            ": webhook.namespaceSelector.matchExpressions[0].values: is missing, and the operator compares with it",
        ),
    ] {
        refuses(yaml, &format!("DIR/flyte.yaml{reason}"));
    }
}

#[test]
fn a_backend_that_is_not_built_in_is_an_error_at_its_name() {
    let source = FlyteSource { flags: vec![("webhook.secretManagerType".into(), "GCP".into())], ..Default::default() };
    assert_eq!(
        source.load(&["k8s", "aws"]).unwrap_err().to_string(),
        "configuration: --webhook.secretManagerType: \"gcp\" is no built-in plugin of this program (there: k8s, aws)"
    );
}
