//! The plugin run natively: URLs and headers of both versions of the engine, values, Vault's
//! errors, settings and their schema.

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
    type Store = VaultKv;
    const NAME: &'static str = "vault-kv";
    const VERSION: &'static str = "1.0.0";
    const SETTINGS_SCHEMA: &'static str = "{}";
}

fn settings(version: u8) -> Value {
    json!({ "address": "https://vault.example:8200", "kvVersion": version })
}

fn fetch(version: u8, request: &SecretRequest, status: u16, body: Value) -> String {
    native::fetch(&Harness::<StoreInjector<Plugin>>::new().settings(&settings(version)), request, status, body)
}

/// The request to Vault, or the reason why the plugin sends no request.
fn ask(settings: Value, request: &SecretRequest) -> Result<Request, String> {
    let settings = serde_json::from_value(settings).map_err(|error| error.to_string())?;
    let store = VaultKv::new(settings)?;
    store.secret(request).and_then(|secret| store.ask(&secret)).map_err(|error| show(&Err(error)))
}

#[test]
fn the_url_depends_on_mount_and_version_of_the_engine() {
    let address = "https://vault.example:8200";
    for (settings, request, url) in [
        (settings(2), SecretRequest::new("team/db", "k"), "/v1/secret/data/team/db"),
        (settings(2), SecretRequest::new("team/db", "k").version("3"), "/v1/secret/data/team/db?version=3"),
        (settings(1), SecretRequest::new("team/db", "k"), "/v1/secret/team/db"),
        (
            json!({ "address": address, "mount": "kv/prod" }),
            SecretRequest::new("a b?c", "k"),
            "/v1/kv/prod/data/a%20b%3Fc",
        ),
    ] {
        assert_eq!(ask(settings, &request).unwrap().url, [address, url].concat());
    }
}

#[test]
fn the_namespace_is_a_header() {
    let with_namespace = json!({ "address": "https://vault.example", "namespace": "org/team-a" });
    let request = ask(with_namespace, &SecretRequest::new("db", "k")).unwrap();
    let headers = [("x-vault-request", "true"), ("x-vault-namespace", "org/team-a")];
    assert_eq!(request.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(ask(settings(2), &SecretRequest::new("db", "k")).unwrap().headers.len(), 1);
}

#[test]
fn a_request_that_leads_to_another_path_is_rejected() {
    for path in ["../sys/mounts", "db/..", "db/./x", "/db", "db/", "a//b"] {
        let expected = format!("invalid: {path:?} is not a valid path of a secret [{path}]");
        assert_eq!(ask(settings(2), &SecretRequest::new(path, "k")).map(|_| ()), Err(expected));
    }
    for (version, request, expected) in [
        (2, SecretRequest::new("", "k"), "invalid: group must be set [/k]"),
        (2, SecretRequest::new("db", ""), "invalid: key must be set [db/]"),
        (
            2,
            SecretRequest::new("db", "k").version("1&x"),
            "invalid: \"1&x\" is not a valid version of a secret [db@1&x]",
        ),
        (
            1,
            SecretRequest::new("db", "k").version("1"),
            "invalid: version 1 of the KV secrets engine has no versions of secrets [db/k@1]",
        ),
    ] {
        assert_eq!(ask(settings(version), &request).map(|_| ()), Err(expected.to_owned()));
    }
}

#[test]
fn returns_a_key_of_the_secret() {
    let data = json!({ "password": "hush", "port": 5432, "tls": { "ca": "x" } });
    let metadata = json!({ "version": 3, "deletion_time": "", "destroyed": false, "custom_metadata": null });
    let versioned = json!({ "lease_duration": 0, "data": { "data": data, "metadata": metadata }, "auth": null });
    let plain = json!({ "lease_duration": 2_764_800, "data": data, "auth": null });
    for (key, value) in [("password", "hush"), ("port", "5432"), ("tls", "{\"ca\":\"x\"}")] {
        let request = SecretRequest::new("db", key);
        assert_eq!(fetch(2, &request, 200, versioned.clone()), format!("value {value}, version 3"));
        assert_eq!(fetch(1, &request, 200, plain.clone()), format!("value {value}, for 2764800 s"));
    }
    let request = SecretRequest::new("db", "user");
    let missing = "not found: secret db of Vault has no key \"user\"";
    assert_eq!(fetch(2, &request, 200, versioned.clone()), missing);
    assert_eq!(fetch(1, &request, 200, plain.clone()), missing);
    let unexpected = fetch(2, &request, 200, plain);
    assert!(unexpected.starts_with("unavailable: unexpected JSON in the answer"), "{unexpected}");
    assert_eq!(fetch(1, &request, 200, versioned), missing);
}

#[test]
fn an_error_of_vault_becomes_a_reason_without_its_message() {
    let deleted = json!({ "data": { "data": null, "metadata": { "version": 3, "deletion_time": "2026-01-01" } } });
    let errors = json!({ "errors": ["hush"] });
    for (version, status, body, expected) in [
        (2, 404, deleted, "not found: Vault has no secret db at settings.mount with a KV engine of version 2"),
        (
            1,
            404,
            json!({ "errors": [] }),
            "not found: Vault has no secret db at settings.mount with a KV engine of version 1",
        ),
        (2, 403, errors.clone(), "denied: Vault denies access to secret db"),
        (2, 400, errors.clone(), "invalid: Vault rejects the request for secret db"),
        (2, 307, json!(null), "internal: Vault answers with a redirect; check settings.address"),
        (2, 412, errors.clone(), "unavailable: Vault answers with status 412"),
        (2, 503, errors, "unavailable: Vault answers with status 503"),
    ] {
        assert_eq!(fetch(version, &SecretRequest::new("db", "k"), status, body), expected);
    }
}

#[test]
fn invalid_settings_are_rejected_by_key() {
    let address = "https://vault.example";
    for (settings, expected) in [
        (json!({}), "missing field `address`"),
        (json!({ "address": "http://vault.example" }), "address: must begin with https://"),
        (json!({ "address": address, "kvVersion": 3 }), "kvVersion: must be 1 or 2"),
        (json!({ "address": address, "mount": "/kv" }), "mount: must be a path without a slash at its ends"),
        (
            json!({ "address": address, "namespace": "a/../b" }),
            "namespace: must be a path without a slash at its ends, such as team-a",
        ),
        (
            json!({ "address": address, "namespace": "a\r\nb" }),
            "namespace: must be a path without a slash at its ends, such as team-a",
        ),
    ] {
        assert_eq!(ask(settings, &SecretRequest::new("db", "k")).map(|_| ()), Err(expected.to_owned()));
    }
}
