//! The plugin run natively: the secret and the file, and the settings' schema.
//!
//! `plugins/pull` tests the common part.

use ampoule_plugin_pull::Settings;
use ampoule_plugin_sdk::testing::{Harness, show};

use super::*;

fn v1() -> Harness<PullInjector<Aws>> {
    Harness::new()
}

fn answer(group: &str, key: &str) -> String {
    show(&v1().inject(&SecretRequest::new(group, key)))
}

/// Checks the environment of the init container, and the path in the variable.
#[track_caller]
fn check(group: &str, key: &str, arn: &str, file: &str) {
    let answer = show(&v1().inject(&SecretRequest::new(group, key).named("MY_SECRET")));
    for expected in [
        format!("env SECRET_ARN = {arn}\n"),
        format!("env SECRET_FILENAME = /{file}\n"),
        format!("env MY_SECRET = /etc/flyte/secrets/{file}"),
    ] {
        assert!(answer.contains(&expected), "{expected} is missing in\n{answer}");
    }
}

#[test]
fn the_environment_contains_the_arn_and_the_file() {
    assert_eq!(
        answer("user-info", "user_secret"),
        "volume aws-secret-vol = memory
init container aws-pull-secret-0 of docker.io/amazon/aws-secrets-manager-secret-sidecar:v0.1.4
  env SECRET_ARN = user-info:user_secret
  env SECRET_FILENAME = /user-info/user_secret
  mount aws-secret-vol at /tmp
  requests cpu=200m memory=500Mi
  limits cpu=200m memory=500Mi
mount aws-secret-vol at /etc/flyte/secrets, read-only
env FLYTE_SECRETS_DEFAULT_DIR = /etc/flyte/secrets
env FLYTE_SECRETS_FILE_PREFIX = "
    );
}

#[test]
fn the_arn_has_one_colon_between_group_and_key_and_the_file_keeps_all() {
    check("arn:aws:secret", "Db-AbCdEf", "arn:aws:secret:Db-AbCdEf", "arn:aws:secret/db-abcdef");
    check("arn:aws:secret:", ":Db", "arn:aws:secret:Db", "arn:aws:secret:/:db");
    check("arn::", "::Db:", "arn:Db:", "arn::/::db:");
}

#[test]
fn a_file_may_be_in_subfolders_but_must_not_leave_the_folder() {
    check("/Prod//Db/", "./User", "/Prod//Db/:./User", "prod/db/user");
    let hint = "cannot be part of a file's path: leave out `..`";
    assert_eq!(answer("../tmp", "key"), format!("invalid: group \"../tmp\" {hint}"));
    assert_eq!(answer("group", "a/../.."), format!("invalid: key \"a/../..\" {hint}"));
    assert_eq!(answer("group", "/"), format!("invalid: key \"/\" {hint}"));
    assert_eq!(answer("a\0b", "key"), format!("invalid: group \"a\\0b\" {hint}"));
}

#[test]
fn group_and_key_are_required() {
    let text = "invalid: AWS Secrets Webhook require both key and group to be set. Secret: ";
    assert_eq!(answer("", "key"), format!("{text}[/key]"));
    assert_eq!(answer("group", ""), format!("{text}[group/]"));
}

#[test]
fn only_flyte_1_sets_the_variable_to_the_path() {
    let request = SecretRequest::new("g", "k").named("MY_SECRET");
    assert!(show(&v1().inject(&request)).ends_with("\nenv MY_SECRET = /etc/flyte/secrets/g/k"));
    assert!(!show(&v1().profile("flyte-v2").inject(&request)).contains("MY_SECRET"));
}

#[test]
fn the_committed_schema_matches_the_settings() {
    let derived = serde_json::to_value(schemars::schema_for!(Settings<Aws>)).unwrap();
    let committed: serde_json::Value = serde_json::from_str(Aws::SETTINGS_SCHEMA).unwrap();
    assert_eq!(committed, derived, "{derived:#}");
}
