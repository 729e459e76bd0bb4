//! Errors in Flyte's files: each message names the key as its author wrote it, and the file.
//!
//! This includes the errors of the common check.

use super::*;

#[test]
fn errors_name_the_key_and_the_file_of_flyte() {
    let supported = "K8s, AWS, GCP, Azure, Vault, Embedded or Global";
    refuses(
        "webhook: { secretManagerType: Conjur }",
        &format!("DIR/flyte.yaml: webhook.secretManagerType: \"Conjur\" is not a secret manager; use {supported}"),
    );
}

#[test]
fn an_invalid_value_is_reported_at_its_key() {
    for (yaml, reason) in [
        ("[]", ": must be a mapping"),
        ("webhook: 7", ": webhook: must be a mapping"),
        ("Webhook: { AwsSecretManager: [] }", ": Webhook.AwsSecretManager: must be a mapping"),
        ("webhook: {\nwebhook: {", ", line 2, column 10: unclosed bracket '{'"),
        ("webhook: {}\nwebhook: {}", ", line 2, column 1: duplicate mapping key: webhook"),
        ("webhook: { listenPort: 70000 }", ": webhook.listenPort: must be a whole number between 0 and 65535"),
        ("webhook: { listenPort: https }", ": webhook.listenPort: must be a whole number between 0 and 65535"),
        ("webhook: { listenPort: 10254 }", ": webhook.listenPort: 10254 is already the port for health and metrics"),
        ("webhook: { servicePort: 0 }", ": webhook.servicePort: must be a whole number between 1 and 65535"),
        ("webhook: { localCert: maybe }", ": webhook.localCert: must be true or false"),
        (
            "secrets: { env-prefix: '' }",
            ": secrets.env-prefix: must not be empty: pods could request every environment variable of the webhook",
        ),
        ("secrets: { secrets-prefix: a }", ": secrets.secrets-prefix: \"a\" is not an absolute path"),
        ("webhook: { certDir: [/a] }", ": webhook.certDir: must be text"),
        (
            "webhook: { secretManagerTypes: { K8s: true } }",
            ": webhook.secretManagerTypes: must be a list of strings, or one string with commas between the items",
        ),
        (
            "webhook: { SERVICENAME: Flyte }",
            ": webhook.SERVICENAME: \"Flyte\" is not a valid object name; use a-z, 0-9, - and ., and start and end with a letter or digit",
        ),
        (
            "webhook: { serviceName: a.b }",
            ": webhook.serviceName: \"a.b\" is not a valid Service name; use 1 to 63 of a-z, 0-9 and -, and start with a letter",
        ),
        (
            "webhook: { secretName: '' }",
            ": webhook.secretName: \"\" is not a valid object name; use a-z, 0-9, - and ., and start and end with a letter or digit",
        ),
        (
            "webhook: { secretManagerTypes: [K8s], secretEnvVarPrefix: 'a=b' }",
            ": webhook.secretEnvVarPrefix: \"a=b\" cannot start the name of a variable; use letters, digits and _, \
         no digit first",
        ),
        (
            "webhook: { secretManagerType: Vault, vaultSecretManager: { kvVersion: 3 } }",
            ": webhook.vaultSecretManager.kvVersion: \"3\" is not a version of Vault's KV engine; use \"1\" or \"2\"",
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
            ": webhook.namespaceSelector.matchExpressions[0].values: is missing; the operator requires it",
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
        "configuration: --webhook.secretManagerType: \"gcp\" is not a built-in plugin of this program (built-in plugins: k8s, aws)"
    );
}
