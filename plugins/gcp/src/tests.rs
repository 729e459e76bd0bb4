//! The plugin run natively: the script, its result in a real shell, and the settings' schema.
//!
//! `plugins/pull` tests the common part.

use std::{fs, process::Command};

use ampoule_plugin_pull::Settings;
use ampoule_plugin_sdk::testing::{Harness, show};

use super::*;

/// A replacement for `gcloud` that rejects full names, and writes its arguments instead of the
/// secret.
const GCLOUD: &str = r#"gcloud() {
    case "$4" in */versions/*) return 1 ;; esac
    for last; do :; done
    file=${last#--out-file=}
    mkdir -p "${file%/*}"
    printf '%s\n' "$@" > "$file"
}
"#;

fn secret(group: &str, version: &str) -> SecretRequest {
    SecretRequest::new(group, "ignored").version(version)
}

fn answer(group: &str, version: &str) -> String {
    show(&Harness::<PullInjector<Gcp>>::new().inject(&secret(group, version)))
}

#[test]
fn the_script_equals_that_of_the_reference() {
    assert_eq!(
        answer("projects/p1/secrets/Db", "7"),
        "volume gcp-secret-vol = memory
init container gcp-pull-secret-0 of gcr.io/google.com/cloudsdktool/cloud-sdk:alpine
  command [\"sh\", \"-ec\", \"gcloud secrets versions access projects/p1/secrets/Db/versions/7 \
--out-file=/etc/flyte/secrets/projects/p1/secrets/db/7 || gcloud secrets versions access 7 --secret=projects/p1/secrets/Db \
--out-file=/etc/flyte/secrets/projects/p1/secrets/db/7; chmod +rX /etc/flyte/secrets/projects/p1/secrets/db \
/etc/flyte/secrets/projects/p1/secrets/db/7\"]
  mount gcp-secret-vol at /etc/flyte/secrets
  requests cpu=200m memory=500Mi
  limits cpu=200m memory=500Mi
mount gcp-secret-vol at /etc/flyte/secrets, read-only
env FLYTE_SECRETS_DEFAULT_DIR = /etc/flyte/secrets
env FLYTE_SECRETS_FILE_PREFIX = "
    );
}

#[test]
fn a_shell_reads_the_names_of_a_request_as_text() {
    for (group, version) in
        [("Db", "7"), ("a b/C", "$(id)"), ("x;touch y", "`id`"), ("it's", "\"1\" || true"), ("~", "*")]
    {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().to_str().unwrap();
        let Puller { command, file, .. } = Gcp::pull(&secret(group, version), directory).unwrap();
        let path = format!("{directory}/{file}");
        assert_eq!(file, format!("{group}/{version}").to_lowercase());
        let [shell, options, script] = command.try_into().unwrap();
        assert!(Command::new(shell).arg(options).arg(GCLOUD.to_owned() + &script).status().unwrap().success());
        let arguments = format!("secrets\nversions\naccess\n{version}\n--secret={group}\n--out-file={path}\n");
        assert_eq!(fs::read_to_string(path).unwrap(), arguments);
    }
}

#[test]
fn the_script_fails_if_gcloud_fails() {
    let Puller { command, .. } = Gcp::pull(&secret("group", "1"), "/nowhere").unwrap();
    let script = format!("gcloud() {{ return 1; }}; chmod() {{ return 0; }}; {}", command[2]);
    assert!(!Command::new("sh").args(["-ec", &script]).status().unwrap().success());
}

#[test]
fn a_name_that_is_an_option_or_leaves_the_folder_is_rejected() {
    assert_eq!(answer("--account=x", "7"), "invalid: group \"--account=x\" must not begin with `-`");
    assert_eq!(answer("db", "-q"), "invalid: group version \"-q\" must not begin with `-`");
    let hint = "cannot be part of a file's path: leave out `..`";
    assert_eq!(answer("db/../..", "7"), format!("invalid: group \"db/../..\" {hint}"));
    assert_eq!(answer("db", ".."), format!("invalid: group version \"..\" {hint}"));
    assert_eq!(answer("db", "a\0b"), format!("invalid: group version \"a\\0b\" {hint}"));
}

#[test]
fn group_and_version_are_required_and_the_key_is_optional() {
    let text = "invalid: GCP Secrets Webhook require both group and group version to be set. Secret: ";
    assert_eq!(answer("", "7"), format!("{text}[/ignored@7]"));
    assert_eq!(answer("db", ""), format!("{text}[db/ignored]"));
    let without_key = SecretRequest::new("db", "").version("7");
    assert_eq!(show(&Harness::<PullInjector<Gcp>>::new().inject(&without_key)), answer("db", "7"));
}

#[test]
fn the_committed_schema_matches_the_settings() {
    let derived = serde_json::to_value(schemars::schema_for!(Settings<Gcp>)).unwrap();
    let committed: serde_json::Value = serde_json::from_str(Gcp::SETTINGS_SCHEMA).unwrap();
    assert_eq!(committed, derived, "{derived:#}");
}
