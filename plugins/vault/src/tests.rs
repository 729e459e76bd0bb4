//! The plugin run natively: annotations, their order and suffix, templates, settings and their
//! schema.
//!
//! Expected values come from the recordings in `tests/parity`, or from `flyte-behaviour` if there
//! is no recording.

use ampoule_plugin_sdk::testing::{Harness, show};
use serde_json::json;

use super::*;

const ENV: &str = "env FLYTE_SECRETS_DEFAULT_DIR = /etc/flyte/secrets\nenv FLYTE_SECRETS_FILE_PREFIX = ";

const COMMON: &str = "annotation vault.hashicorp.com/agent-inject = true
annotation vault.hashicorp.com/secret-volume-path = /etc/flyte/secrets
annotation vault.hashicorp.com/role = flyte
annotation vault.hashicorp.com/agent-pre-populate-only = true";

const SECRET: &str = "annotation vault.hashicorp.com/agent-inject-secret-af9dd2847a30ca293f5a1c3d4b270e77 = user-info
annotation vault.hashicorp.com/agent-inject-file-af9dd2847a30ca293f5a1c3d4b270e77 = user-info/user_secret
annotation vault.hashicorp.com/agent-inject-template-af9dd2847a30ca293f5a1c3d4b270e77 = \
{{- with secret \"user-info\" -}}{{ .Data.data.user_secret }}{{- end -}}";

fn vault() -> Harness<Vault> {
    Harness::new()
}

fn user_secret() -> SecretRequest {
    SecretRequest::new("user-info", "user_secret")
}

#[track_caller]
fn check(harness: &Harness<Vault>, request: &SecretRequest, expected: &str) {
    assert_eq!(show(&harness.inject(request)), expected);
}

/// Returns the template of a request, if it has one.
fn template_of(harness: &Harness<Vault>, request: &SecretRequest) -> Option<String> {
    let answer = show(&harness.inject(request));
    let line = answer.lines().find(|line| line.contains("agent-inject-template-"))?;
    Some(line.split_once(" = ")?.1.to_owned())
}

fn suffix(request: &SecretRequest) -> String {
    let answer = show(&vault().inject(request));
    let (_, rest) = answer.split_once("agent-inject-secret-").unwrap();
    rest.split_once(' ').unwrap().0.to_owned()
}

#[test]
fn a_secret_adds_three_annotations_to_the_common_ones() {
    let expected = format!("{ENV}\n{COMMON}\n{SECRET}");
    check(&vault(), &user_secret().as_file(), &expected);
    check(&vault(), &user_secret(), &expected);
    check(&vault().profile("flyte-v2"), &user_secret(), &expected);
    check(&vault(), &user_secret().named("MY_SECRET"), &expected);
}

#[test]
fn the_group_version_selects_the_engine_and_the_settings_its_default() {
    let v1 = "{{- with secret \"secret/Flyte\" -}}{{ .Data.Password }}{{- end -}}";
    let v2 = "{{- with secret \"secret/Flyte\" -}}{{ .Data.data.Password }}{{- end -}}";
    let template = |settings: serde_json::Value, version: &str| {
        template_of(&vault().settings(&settings), &SecretRequest::new("secret/Flyte", "Password").version(version))
    };
    for (settings, default) in [
        (json!({}), v2),
        (json!({"kvVersion": "1"}), v1),
        (json!({"kvVersion": 1}), v1),
        (json!({"kvVersion": "2"}), v2),
        (json!({"kvVersion": 2}), v2),
    ] {
        assert_eq!(template(settings.clone(), "kv1").as_deref(), Some(v1));
        assert_eq!(template(settings.clone(), "kv2").as_deref(), Some(v2));
        assert_eq!(template(settings.clone(), "db"), None);
        for other in ["", "KV1", "7"] {
            assert_eq!(template(settings.clone(), other).as_deref(), Some(default), "{settings} {other:?}");
        }
    }
}

#[test]
fn a_key_that_is_not_an_identifier_is_selected_by_index() {
    let template = |group: &str, key: &str| template_of(&vault(), &SecretRequest::new(group, key)).unwrap();
    let index = |group: &str, key: &str| {
        format!("{{{{- with secret {group} -}}}}{{{{ index .Data.data {key} }}}}{{{{- end -}}}}")
    };
    assert_eq!(template("app", "api-key"), index("\"app\"", "\"api-key\""));
    assert_eq!(template("app", "ca.crt"), index("\"app\"", "\"ca.crt\""));
    assert_eq!(template("app", "1st"), index("\"app\"", "\"1st\""));
    assert_eq!(template("a\"b\\c", "}}{{"), index("\"a\\\"b\\\\c\"", "\"}}{{\""));
    let control = |what: &str, name: &str| format!("invalid: {what} {name:?} must not contain control characters");
    check(&vault(), &SecretRequest::new("a\nb", "key"), &control("group", "a\nb"));
    check(&vault(), &SecretRequest::new("app", "a\tb"), &control("key", "a\tb"));
}

#[test]
fn the_suffix_is_unique_to_the_request_and_stable() {
    let request = || SecretRequest::new("ab", "c");
    assert_eq!(suffix(&request()), suffix(&request().as_file().named("X")));
    let others = [
        SecretRequest::new("a", "bc"),
        SecretRequest::new("ab", "d"),
        request().version("kv1"),
        request().version("c"),
    ];
    let mut all: Vec<_> = others.iter().chain([&request()]).map(suffix).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 5, "{all:?}");
    // The part of an annotation's key after the slash has at most 63 characters.
    assert!(all.iter().all(|suffix| "agent-inject-template-".len() + suffix.len() <= 63));
}

#[test]
fn annotations_of_the_settings_are_first_since_the_first_wins() {
    let settings = json!({
        "role": "apps",
        "annotations": {"vault.hashicorp.com/role": "team-a", "vault.hashicorp.com/agent-limits-cpu": "100m"},
    });
    let expected = format!(
        "{ENV}
annotation vault.hashicorp.com/agent-limits-cpu = 100m
annotation vault.hashicorp.com/role = team-a
{}
{SECRET}",
        COMMON.replace("role = flyte", "role = apps")
    );
    check(&vault().settings(&settings), &user_secret(), &expected);
}

#[test]
fn a_named_variable_holds_the_path_if_the_settings_enable_it() {
    let harness = vault().settings(&json!({"pathInEnvVar": true}));
    let request = SecretRequest::new("secret/Flyte/", "Password").named("MY_SECRET");
    let answer = show(&harness.inject(&request));
    assert!(answer.contains("\nenv MY_SECRET = /etc/flyte/secrets/secret/Flyte/Password\n"), "{answer}");
    let hint = "cannot name an environment variable: use letters, digits and `_`";
    check(&harness, &user_secret().named("A=B"), &format!("invalid: \"A=B\" {hint}"));
}

#[test]
fn the_files_have_a_folder_of_their_own_in_the_profile_plain() {
    let shown = show(&vault().profile("plain").inject(&user_secret().as_file().named("MINE")));
    assert!(shown.contains("/etc/secrets/vault\n") && !shown.contains("/etc/flyte"), "{shown}");
    assert!(shown.contains("env MINE = /etc/secrets/vault/"), "{shown}");
}

#[test]
fn a_request_that_vault_cannot_serve_is_rejected() {
    let text = "Secrets Webhook requires both key and group to be set. Secret: ";
    check(&vault(), &SecretRequest::new("group", ""), &format!("invalid: Vault {text}[group/]"));
    check(&vault().profile("flyte-v2"), &SecretRequest::new("", "key"), &format!("invalid: vault {text}[/key]"));
    let unsupported = "unsupported: Env_Var is not a supported mount requirement for Vault Secret Manager";
    check(&vault(), &user_secret().as_env_var(), unsupported);
    check(&vault(), &user_secret().as_env_var().named("MY_SECRET"), unsupported);
    let hint = "cannot be part of a file's path: leave out `..`";
    check(&vault(), &SecretRequest::new("../x", "key"), &format!("invalid: group \"../x\" {hint}"));
    check(&vault(), &SecretRequest::new("group", "a/../../b"), &format!("invalid: key \"a/../../b\" {hint}"));
    check(&vault(), &SecretRequest::new("group", "a\0b"), &format!("invalid: key \"a\\0b\" {hint}"));
}

#[test]
fn invalid_settings_are_rejected_by_key() {
    let refused = [
        (json!({"kvVersion": 3}), "kvVersion: invalid value, expected 1 or 2"),
        (json!({"kvVersion": "kv2"}), "kvVersion: invalid value, expected 1 or 2"),
        (
            json!({"rolle": "x"}),
            "unknown field `rolle`, expected one of `role`, `kvVersion`, `annotations`, `pathInEnvVar`",
        ),
        (
            json!({"annotations": {"flyte.secrets/s0": "x"}}),
            "annotations: \"flyte.secrets/s0\" is not an annotation that a plugin may set",
        ),
        (json!({"annotations": {"": "x"}}), "annotations: \"\" is not an annotation that a plugin may set"),
    ];
    for (settings, expected) in refused {
        assert_eq!(vault().settings(&settings).configure(), Err(expected.to_owned()));
    }
}

#[test]
fn the_committed_schema_matches_the_settings() {
    let derived = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    let committed: serde_json::Value = serde_json::from_str(Vault::SETTINGS_SCHEMA).unwrap();
    assert_eq!(committed, derived, "{derived:#}");
}

#[test]
fn without_flyte_no_word_and_no_default_is_flytes() {
    let plain = || Harness::<Vault>::new().profile("plain");
    assert_eq!(
        show(&plain().inject(&SecretRequest::new("", "key"))),
        "invalid: group and key must be set, and not empty"
    );
    assert_eq!(
        show(&plain().inject(&SecretRequest::new("group", "key").as_env_var())),
        format!("unsupported: {FILES_ONLY}")
    );
    let answer = show(&plain().inject(&SecretRequest::new("group", "key")));
    assert!(!answer.contains("vault.hashicorp.com/role"), "{answer}");
    let answer = show(&plain().settings(&json!({ "role": "shop" })).inject(&SecretRequest::new("group", "key")));
    assert!(answer.contains("annotation vault.hashicorp.com/role = shop\n"), "{answer}");
    assert_eq!(plain().check(), Err(MADE_FOR_FLYTE.to_owned()));
    for profile in ["flyte-v1", "flyte-v2"] {
        assert_eq!(Harness::<Vault>::new().profile(profile).check(), Ok(()), "{profile}");
    }
}
