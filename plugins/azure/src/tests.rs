//! The plugin run natively: the script, its result in a real shell, and the settings' schema.
//!
//! `plugins/pull` tests the common part.

use std::{fs, process::Command};

use ampoule_plugin_pull::Settings;
use ampoule_plugin_sdk::testing::{Harness, show};

use super::*;

const URI: &str = "https://vault1.vault.azure.net/secrets/Db";

/// A replacement for `az` that prints its arguments, except for the login.
const AZ: &str = r#"az() { [ "$1" = login ] || printf '%s\n' "$@"; }
AZURE_FEDERATED_TOKEN_FILE=/dev/null
"#;

fn secret(group: &str, version: &str) -> SecretRequest {
    SecretRequest::new(group, "ignored").version(version)
}

fn answer(group: &str, version: &str) -> String {
    show(&Harness::<PullInjector<Azure>>::new().profile("flyte-v2").inject(&secret(group, version)))
}

/// Checks the script after the login, and the file.
#[track_caller]
fn check(group: &str, version: &str, script: &str, file: &str) {
    let puller = Azure::pull(&secret(group, version), "/etc/flyte/secrets").unwrap();
    assert_eq!(puller.command, ["sh", "-ec", &format!("{LOGIN}; {script}")]);
    assert_eq!(puller.file, file);
}

#[test]
fn the_script_equals_that_of_the_reference() {
    assert_eq!(
        answer(URI, ""),
        "volume azure-secret-vol = memory
init container azure-pull-secret-0 of mcr.microsoft.com/azure-cli:cbl-mariner2.0
  command [\"sh\", \"-ec\", \"az login --service-principal -u $AZURE_CLIENT_ID -t $AZURE_TENANT_ID --federated-token \
\\\"$(cat $AZURE_FEDERATED_TOKEN_FILE)\\\"; az keyvault secret show --id \\\"https://vault1.vault.azure.net/secrets/Db/\\\" \
--query \\\"value\\\" -o tsv > /etc/flyte/secrets/db\"]
  mount azure-secret-vol at /etc/flyte/secrets
  requests cpu=200m memory=500Mi
  limits cpu=200m memory=500Mi
mount azure-secret-vol at /etc/flyte/secrets, read-only
env FLYTE_SECRETS_DEFAULT_DIR = /etc/flyte/secrets
env FLYTE_SECRETS_FILE_PREFIX = "
    );
}

#[test]
fn a_version_adds_a_folder() {
    let script = format!(
        "mkdir -p /etc/flyte/secrets/db; az keyvault secret show --id \"{URI}/V1\" --query \"value\" -o tsv > \
         /etc/flyte/secrets/db/v1"
    );
    check(URI, "V1", &script, "db/v1");
    check(&format!("{URI}//"), "V1", &script, "db/v1");
    let newest = format!("az keyvault secret show --id \"{URI}/\" --query \"value\" -o tsv > /etc/flyte/secrets/db");
    check(&format!("{URI}/"), "", &newest, "db");
}

#[test]
fn a_shell_reads_the_names_of_a_request_as_text() {
    for (name, version) in [("Db", ""), ("Db", "V1"), ("$(id)", "a b"), ("it's", "`id`"), ("\"x\"; touch y", "&& true")]
    {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().to_str().unwrap();
        let uri = format!("https://v/secrets/{name}");
        let Puller { command, file, .. } = Azure::pull(&secret(&uri, version), directory).unwrap();
        let [shell, options, script] = command.try_into().unwrap();
        assert!(Command::new(shell).arg(options).arg(AZ.to_owned() + &script).status().unwrap().success());
        let arguments = format!("keyvault\nsecret\nshow\n--id\n{uri}/{version}\n--query\nvalue\n-o\ntsv\n");
        assert_eq!(fs::read_to_string(format!("{directory}/{file}")).unwrap(), arguments);
    }
}

#[test]
fn the_script_fails_if_the_login_fails() {
    let folder = tempfile::tempdir().unwrap();
    let Puller { command, .. } = Azure::pull(&secret(URI, ""), folder.path().to_str().unwrap()).unwrap();
    let script = format!("az() {{ [ \"$1\" != login ]; }}\nAZURE_FEDERATED_TOKEN_FILE=/dev/null\n{}", command[2]);
    assert!(!Command::new("sh").args(["-ec", &script]).status().unwrap().success());
}

#[test]
fn a_name_that_leaves_the_folder_is_rejected() {
    let hint = "cannot be part of a file's path: leave out `..`";
    assert_eq!(answer("https://v/secrets/..", ""), format!("invalid: the name at the end of group \"..\" {hint}"));
    assert_eq!(answer("///", ""), format!("invalid: the name at the end of group \"\" {hint}"));
    assert_eq!(answer(URI, "../x"), format!("invalid: group version \"../x\" {hint}"));
    assert_eq!(answer("a\0b/Db", ""), "invalid: \"a\\0b/Db/\" must not contain a NUL character");
}

#[test]
fn the_group_is_required() {
    assert_eq!(answer("", "V1"), "invalid: Azure Secrets Webhook require group to be set. Secret: [/ignored@V1]");
}

#[test]
fn the_committed_schema_matches_the_settings() {
    let derived = serde_json::to_value(schemars::schema_for!(Settings<Azure>)).unwrap();
    let committed: serde_json::Value = serde_json::from_str(Azure::SETTINGS_SCHEMA).unwrap();
    assert_eq!(committed, derived, "{derived:#}");
}
