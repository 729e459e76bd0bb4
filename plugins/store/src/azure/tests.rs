//! The plugin run natively: the URL, the value and its version, Key Vault's errors, settings and
//! their schema.

use ampoule_plugin_sdk::{
    SecretRequest,
    testing::{Harness, show},
};
use serde_json::{Value, json};

use super::*;
use crate::{StoreInjector, StorePlugin, native};

#[derive(Debug)]
struct Plugin;

impl StorePlugin for Plugin {
    type Store = AzureKeyVault;
    const NAME: &'static str = "azure-key-vault";
    const VERSION: &'static str = "1.0.0";
    const SETTINGS_SCHEMA: &'static str = "{}";
}

const VERSION: &str = "4387e9f3d6e14c459867679a90fd0f79";

fn harness() -> Harness<StoreInjector<Plugin>> {
    Harness::new().settings(&json!({ "vaultUrl": "https://shop.vault.azure.net/" }))
}

fn fetch(request: &SecretRequest, status: u16, body: Value) -> String {
    native::fetch(&harness(), request, status, body)
}

#[test]
fn the_url_contains_the_secret_and_its_version() {
    for (request, expected) in [
        (SecretRequest::new("db", "k"), Ok("https://shop.vault.azure.net/secrets/db?api-version=7.4".to_owned())),
        (SecretRequest::new("", "db-1"), Ok("https://shop.vault.azure.net/secrets/db-1?api-version=7.4".to_owned())),
        (
            SecretRequest::new("db", "k").version(VERSION),
            Ok(format!("https://shop.vault.azure.net/secrets/db/{VERSION}?api-version=7.4")),
        ),
        (SecretRequest::new("a_b", "k"), Err("invalid: \"a_b\" is not a valid name of a secret [a_b]")),
        (
            SecretRequest::new("db/../../keys", "k"),
            Err("invalid: \"db/../../keys\" is not a valid name of a secret [db/../../keys]"),
        ),
        (
            SecretRequest::new("db", "k").version("1/backup"),
            Err("invalid: \"1/backup\" is not a valid version of a secret [db@1/backup]"),
        ),
    ] {
        let store = AzureKeyVault::new(Settings { vault_url: "https://shop.vault.azure.net/".to_owned() }).unwrap();
        let asked = store.ask(&store.secret(&request).unwrap());
        assert_eq!(asked.map(|asked| asked.url).map_err(|error| show(&Err(error))), expected.map_err(str::to_owned));
    }
}

#[test]
fn returns_the_value_with_its_version() {
    let answer = |value: &str| {
        let id = format!("https://shop.vault.azure.net/secrets/db/{VERSION}");
        json!({ "value": value, "id": id, "contentType": "text/plain", "attributes": { "enabled": true } })
    };
    assert_eq!(fetch(&SecretRequest::new("", "db"), 200, answer("hush")), format!("value hush, version {VERSION}"));
    let field = SecretRequest::new("db", "password");
    let json = answer("{\"password\":\"hush\"}");
    assert_eq!(fetch(&field, 200, json.clone()), format!("value hush, version {VERSION}"));
    assert_eq!(
        fetch(&SecretRequest::new("db", "user"), 200, json),
        "not found: secret db of Azure Key Vault has no key \"user\""
    );
    let no_value = json!({ "id": "https://shop.vault.azure.net/secrets/db/1" });
    let unexpected = "unavailable: unexpected JSON in the answer (line 1, column 50)";
    assert_eq!(fetch(&field, 200, no_value), unexpected);
}

#[test]
fn an_error_of_key_vault_becomes_a_reason_without_its_message() {
    let disabled = json!({ "code": "Forbidden", "message": "hush", "innererror": { "code": "SecretDisabled" } });
    let forbidden = json!({ "code": "Forbidden", "message": "hush", "innererror": { "code": "ForbiddenByRbac" } });
    for (status, error, expected) in [
        (403, disabled, "not found: secret db@1 is disabled in Azure Key Vault"),
        (403, forbidden, "denied: Azure Key Vault denies access to secret db@1"),
        (404, json!({ "code": "SecretNotFound", "message": "hush" }), "not found: Azure Key Vault has no secret db@1"),
        (400, json!({ "code": "BadParameter" }), "invalid: Azure Key Vault rejects the request for secret db@1"),
        (
            401,
            json!({ "code": "Unauthorized", "message": "hush" }),
            "denied: Azure Key Vault rejects the webhook's credential; check `credential` of the host in grants.http",
        ),
        (429, json!({ "code": "Throttled" }), "unavailable: Azure Key Vault answers with status 429"),
        (302, json!("hush"), "internal: Azure Key Vault answers with a redirect; check settings.vaultUrl"),
    ] {
        let request = SecretRequest::new("db", "k").version("1");
        assert_eq!(fetch(&request, status, json!({ "error": error })), expected);
    }
}

#[test]
fn the_url_of_the_vault_is_required() {
    for (settings, expected) in
        [(json!({}), "missing field `vaultUrl`"), (json!({ "vaultUrl": "shop" }), "vaultUrl: must begin with https://")]
    {
        let harness = Harness::<StoreInjector<Plugin>>::new().settings(&settings);
        assert_eq!(harness.configure(), Err(expected.to_owned()));
    }
}
