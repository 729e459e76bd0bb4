//! The plugin run natively: names, the walk through the scopes, edits, bindings and promises.
//!
//! The names are vectors that Flyte 2.0.43 computes.

use ampoule_plugin_sdk::testing::{Harness, PodBuilder, set_secret, show, show_value};
use serde_json::{Value, json};

use super::{
    scope::{pull_secret_name, secret_id, secret_name},
    *,
};

const KEY: &str = "my_secret";

fn of(organization: &str, domain: &str, project: &str) -> Coordinates {
    let [organization, domain, project] = [organization, domain, project].map(str::to_owned);
    Coordinates { organization, domain, project }
}

fn task(namespace: &str) -> PodBuilder {
    PodBuilder::new(namespace)
        .label("organization", "flyte")
        .label("domain", "development")
        .label("project", "flytesnacks")
}

fn harness(settings: &Value, pod: PodBuilder) -> Harness<Embedded> {
    Harness::new().profile("flyte-v2").settings(settings).pod(pod)
}

/// Creates a secret as Flyte's service does.
fn create(scope: &Coordinates, key: &str, value: &str) {
    let id = secret_id(scope, key);
    set_secret("flyte", &secret_name(&id), &id, value);
}

/// Grants the Secrets of all scopes, which then exist without the key.
fn grant(key: &str) {
    for scope in of("flyte", "development", "flytesnacks").scopes() {
        set_secret("flyte", &secret_name(&secret_id(&scope, key)), "another key", "");
    }
}

#[test]
fn names_are_those_of_flyte() {
    for (key, scope, secret, pull_secret) in [
        (
            KEY,
            of("flyte", "development", "flytesnacks"),
            "6c885478a7866c6d7e3e88241434bc0b",
            "img-pull-0add26ea02ddf351",
        ),
        (KEY, of("flyte", "development", ""), "6dadbdcda8c2cd45d833a1eb2a180d84", "img-pull-3c7d73f7f3524dd7"),
        (KEY, of("flyte", "", ""), "ecbd47cdc24a94cbc4c77c1066ea1656", "img-pull-59c6f6a23ee2e044"),
        ("OPENAI_API_KEY", of("flyte", "development", "flytesnacks"), "1120af933240adb6660fbff47f44d974", ""),
        ("OPENAI_API_KEY", of("flyte", "development", ""), "d088fff862dee18ff5a139f78ea39c4a", ""),
        ("OPENAI_API_KEY", of("flyte", "", ""), "f0c3f20232e5e81c6821cafd1ba1a651", ""),
        ("pingsutw", of("flyte", "", ""), "", "img-pull-70ced63e0199d939"),
        ("repro_secret", of("flyte", "", ""), "d6a91cc8a72f2ae4c7651db23c2d9cdf", ""),
    ] {
        if !secret.is_empty() {
            assert_eq!(secret_name(&secret_id(&scope, key)), secret, "{key} {scope:?}");
        }
        if !pull_secret.is_empty() {
            assert_eq!(pull_secret_name(&scope, key), pull_secret, "{key} {scope:?}");
        }
    }
    assert_eq!(secret_id(&of("flyte", "", ""), "x"), "u__org__flyte__domain____project____key__x");
}

#[test]
fn the_narrowest_scope_that_has_the_secret_wins_and_is_a_reference_in_the_same_namespace() {
    grant(KEY);
    let harness = harness(&json!({}), task("flyte"));
    let request = SecretRequest::new("", KEY).as_env_var();
    let found = || show(&harness.inject(&request));
    let missing = "not found: no secret \"my_secret\" in project flytesnacks and domain development, in domain \
                   development, or in organization flyte; create it with `flyte create secret my_secret`";
    assert_eq!(found(), missing);
    for (scope, name) in [
        (of("flyte", "", ""), "ecbd47cdc24a94cbc4c77c1066ea1656"),
        (of("flyte", "development", ""), "6dadbdcda8c2cd45d833a1eb2a180d84"),
        (of("flyte", "development", "flytesnacks"), "6c885478a7866c6d7e3e88241434bc0b"),
    ] {
        create(&scope, KEY, "value");
        let id = secret_id(&scope, KEY);
        let expected = format!("env FLYTE_SECRETS_ENV_PREFIX = _UNION_\nenv _UNION_MY_SECRET = key {id} of {name}");
        assert_eq!(found(), expected);
    }
}

#[test]
fn the_edits_depend_on_the_delivery_and_on_the_requested_variable() {
    create(&of("flyte", "", ""), "Key", "value");
    let id = "u__org__flyte__domain____project____key__Key";
    let reference = format!("key {id} of {}", secret_name(id));
    let file = format!(
        "file /etc/flyte/secrets/Key = {reference}\nenv FLYTE_SECRETS_DEFAULT_DIR = /etc/flyte/secrets\n\
         env FLYTE_SECRETS_FILE_PREFIX = "
    );
    for (request, expected) in [
        (
            SecretRequest::new("ignored", "Key"),
            format!("env FLYTE_SECRETS_ENV_PREFIX = _UNION_\nenv _UNION_KEY = {reference}"),
        ),
        (
            SecretRequest::new("", "Key").as_env_var().named("TOKEN"),
            format!("env FLYTE_SECRETS_ENV_PREFIX = _UNION_\nenv TOKEN = {reference}"),
        ),
        (SecretRequest::new("", "Key").as_file(), file.clone()),
        (
            SecretRequest::new("", "Key").as_file().named("PATH_OF"),
            format!("{file}\nenv PATH_OF = /etc/flyte/secrets/Key"),
        ),
    ] {
        assert_eq!(show(&harness(&json!({}), task("flyte")).inject(&request)), expected);
    }
}

#[test]
fn in_another_namespace_the_value_is_a_promise_that_searches_the_scopes() {
    grant(KEY);
    let harness = harness(&json!({ "k8s": { "namespace": "flyte" } }), task("flytesnacks-development"));
    let shown = show(&harness.inject(&SecretRequest::new("", KEY).as_env_var()));
    let promise = shown.split_once(" = promise ").unwrap().1.to_owned();
    assert_eq!(
        promise,
        r#"{"secret":{"of":{"organization":"flyte","domain":"development","project":"flytesnacks"},"key":"my_secret"}}"#
    );
    assert!(show_value(&harness.fetch(&promise)).starts_with("not found: no secret \"my_secret\" in project"));
    create(&of("flyte", "", ""), KEY, "of the organization");
    assert_eq!(show_value(&harness.fetch(&promise)), "value of the organization");
    create(&of("flyte", "development", "flytesnacks"), KEY, "of the project");
    assert_eq!(show_value(&harness.fetch(&promise)), "value of the project");
    assert_eq!(show_value(&harness.fetch("{}")), "internal: not a promise");
}

#[test]
fn a_denied_scope_is_reported_only_if_no_broader_scope_has_the_secret() {
    let of = of("flyte", "development", "flytesnacks");
    let narrow = secret_id(&of, KEY);
    let denied = |_: &Coordinates, id: &str| {
        if id == narrow { Err(InjectionError::denied("no right".to_owned())) } else { Ok(None) }
    };
    let expected = format!("denied: access is denied to {narrow} (no right)");
    assert_eq!(show(&scope::walk::<()>(&of, KEY, denied).map(|_| Vec::new())), expected);
    let broad = |scope: &Coordinates, id: &str| if id == narrow { denied(scope, id) } else { Ok(Some(())) };
    assert_eq!(scope::walk(&of, KEY, broad).unwrap().0, secret_id(&of.scopes()[1], KEY));
    let down = |_: &Coordinates, _: &str| Err(InjectionError::unavailable("down"));
    assert_eq!(show(&scope::walk::<()>(&of, KEY, down).map(|_| Vec::new())), "unavailable: down");
}

#[test]
fn requests_without_key_or_labels_and_names_that_are_not_unique_are_rejected() {
    let request = SecretRequest::new("", KEY);
    let labelled = |labels: &[(&str, &str)]| {
        labels.iter().fold(PodBuilder::new("flyte"), |pod, (key, value)| pod.label(*key, *value))
    };
    let missing =
        |label: &str| format!("invalid: secret read requirements not met due to empty {label} field in the pod labels");
    for (pod, request, expected) in [
        (labelled(&[]), &request, missing("organization")),
        (labelled(&[("organization", "o")]), &request, missing("project")),
        (labelled(&[("organization", "o"), ("project", "p")]), &request, missing("domain")),
        (
            labelled(&[("organization", "o"), ("project", "a__key__b"), ("domain", "d")]),
            &request,
            "invalid: the label project of the pod contains `__`, so its secrets have no unique name".to_owned(),
        ),
        (
            task("flyte"),
            &SecretRequest::new("g", ""),
            "invalid: EmbeddedSecretManager requires key to be set.".to_owned(),
        ),
    ] {
        let answer = show(&harness(&json!({}), pod).inject(request));
        assert!(answer.starts_with(&expected), "{answer} {expected}");
    }
}

#[test]
fn a_namespace_uses_only_the_scopes_that_are_bound_to_it() {
    let request = SecretRequest::new("", KEY);
    let template = json!({ "scopes": { "template": "{project}-{domain}" } });
    let other = json!({ "scopes": { "template": "{project}-{domain}", "organization": "union" } });
    let full = json!({ "scopes": { "template": "{organization}-{project}-{domain}" } });
    let list = json!({ "scopes": { "namespaces": [{ "namespace": "jobs", "project": "flytesnacks" }] } });
    for (settings, namespace, permitted) in [
        (&json!({}), "anything", true),
        (&template, "flytesnacks-development", true),
        (&template, "flytesnacks-production", false),
        (&other, "flytesnacks-development", false),
        (&full, "flyte-flytesnacks-development", true),
        (&list, "jobs", true),
        (&list, "flytesnacks-development", false),
    ] {
        let answer = show(&harness(settings, task(namespace)).inject(&request));
        let denied = format!(
            "denied: the pod's labels state project flytesnacks, domain development and organization flyte, which \
             pods in namespace {namespace} may not use (settings.scopes)"
        );
        assert_eq!(answer != denied, permitted, "{settings} {namespace}: {answer}");
    }
    assert!(harness(&json!({}), task("flyte")).check().unwrap_err().starts_with("settings.scopes is empty"));
    assert_eq!(harness(&template, task("flyte")).check(), Ok(()));
}

#[test]
fn an_image_pull_secret_is_not_visible_to_containers() {
    let promise = r#"{"secret":{"of":{"organization":"flyte","domain":"development","project":"flytesnacks"},"key":"my_secret"}}"#;
    let listed = json!({ "imagePull": { "names": ["other", "my_*"] } });
    let request = SecretRequest::new("", KEY).as_env_var();
    let answer = show(&harness(&listed, task("jobs")).inject(&request));
    assert_eq!(answer, format!("image pull secret from promise {promise}"));

    let existing = json!({ "imagePull": { "existing": true } });
    create(&of("flyte", "", ""), KEY, "value");
    set_secret("flyte", "img-pull-59c6f6a23ee2e044", ".dockerconfigjson", "{}");
    let remote = show(&harness(&existing, task("jobs")).inject(&request));
    let expected = "image pull secret from promise {\"pullSecret\":\"img-pull-59c6f6a23ee2e044\"}";
    assert_eq!(remote.lines().last(), Some(expected));
    let local = show(&harness(&existing, task("flyte")).inject(&request));
    assert_eq!(local.lines().last(), Some("image pull secret img-pull-59c6f6a23ee2e044"));
    let value = harness(&existing, task("jobs")).fetch("{\"pullSecret\":\"img-pull-59c6f6a23ee2e044\"}");
    assert_eq!(show_value(&value), "value {}");
}

#[test]
fn a_file_of_a_listed_secret_stays_beside_the_image_pull_secret() {
    create(&of("flyte", "", ""), KEY, "{}");
    let listed = json!({ "imagePull": { "names": [KEY] } });
    let answer = show(&harness(&listed, task("jobs")).inject(&SecretRequest::new("", KEY).as_file()));
    let lines: Vec<_> = answer.lines().map(|line| line.split(" = ").next().unwrap_or_default()).collect();
    let [file, .., pull_secret] = &lines[..] else { panic!("{answer}") };
    assert_eq!(*file, "file /etc/flyte/secrets/my_secret");
    assert!(pull_secret.starts_with("image pull secret from promise {\"secret\":"), "{answer}");
}

#[test]
fn a_variable_with_a_docker_configuration_becomes_an_image_pull_secret_if_it_is_detected() {
    grant(KEY);
    let detect = json!({ "imagePull": { "detect": true } });
    let request = SecretRequest::new("", KEY);
    let first_word = |settings: &Value, namespace: &str, request: &SecretRequest| {
        let answer = show(&harness(settings, task(namespace)).inject(request));
        answer.split(' ').next().unwrap_or_default().to_owned()
    };
    let found = first_word(&detect, "jobs", &request.clone().as_env_var());
    assert_eq!(found, "not", "a missing secret is reported as without detection");
    for (value, is_docker_config) in [
        (r#"{"auths": {"ghcr.io": {"auth": "dTpw"}}}"#, true),
        (r#"{"auths": {}, "credsStore": "desktop"}"#, true),
        (r#"{"auths": "text"}"#, false),
        (r#"{"auth": {}}"#, false),
        (r#"["auths"]"#, false),
        ("value", false),
        ("", false),
    ] {
        create(&of("flyte", "", ""), KEY, value);
        for namespace in ["jobs", "flyte"] {
            let expected = if is_docker_config { "image" } else { "env" };
            for request in [request.clone(), request.clone().as_env_var()] {
                assert_eq!(first_word(&detect, namespace, &request), expected, "{value} {namespace}");
                assert_eq!(first_word(&json!({}), namespace, &request), "env", "{value} {namespace}");
            }
            assert_eq!(first_word(&detect, namespace, &request.clone().as_file()), "file", "{value} {namespace}");
        }
    }
}

#[test]
fn settings_that_could_find_nothing_are_rejected() {
    for (settings, error) in [
        (json!({ "k8s": { "namespace": "" } }), "k8s.namespace: is empty"),
        (json!({ "type": "AWS" }), "aws: is required for this type"),
        (json!({ "type": "Azure", "gcp": { "project": "p" } }), "gcp: has no effect with this type"),
        (json!({ "aws": { "region": "eu-central-1" } }), "aws: has no effect with this type"),
        (
            json!({ "type": "AWS", "aws": { "region": "" } }),
            "aws.region: must be the name of a region, such as eu-central-1",
        ),
        (json!({ "type": "GCP", "gcp": { "project": "A" } }), "gcp.project: must be the id or number of a project"),
        (json!({ "type": "Azure", "azure": { "vaultUrl": "x" } }), "azure.vaultUrl: must begin with https://"),
        (json!({ "scopes": { "template": "{domain}" } }), "scopes.template: \"{domain}\" does not contain `{project}`"),
        (json!({ "scopes": { "namespaces": [{ "project": "p" }] } }), "scopes.namespaces[0].namespace: is required"),
    ] {
        assert_eq!(harness(&settings, task("flyte")).configure(), Err(error.to_owned()));
    }
}

#[test]
fn the_committed_schema_matches_the_settings() {
    let derived = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    let committed: Value = serde_json::from_str(Embedded::SETTINGS_SCHEMA).unwrap();
    assert_eq!(committed, derived, "settings.schema.json should be:\n{derived:#}");
}
