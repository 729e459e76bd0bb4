//! The plugin run natively: the URL, the value and its checksum, Google's errors, settings and
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
    type Store = GcpSecretManager;
    const NAME: &'static str = "gcp-secret-manager";
    const VERSION: &'static str = "1.0.0";
    const SETTINGS_SCHEMA: &'static str = "{}";
}

fn harness() -> Harness<StoreInjector<Plugin>> {
    Harness::new().settings(&json!({ "project": "shop" }))
}

fn fetch(request: &SecretRequest, status: u16, body: Value) -> String {
    native::fetch(&harness(), request, status, body)
}

/// The URL that the plugin asks, or the reason why it sends no request.
fn url(settings: Value, request: &SecretRequest) -> Result<String, String> {
    let settings = serde_json::from_value(settings).map_err(|error| error.to_string())?;
    let store = GcpSecretManager::new(settings)?;
    match store.secret(request).and_then(|secret| store.ask(&secret)) {
        Ok(asked) => Ok(asked.url),
        Err(error) => Err(show(&Err(error))),
    }
}

#[test]
fn the_url_contains_project_secret_and_version() {
    let global = json!({ "project": "shop" });
    let regional = json!({ "project": "example.com:shop", "location": "europe-west3" });
    let endpoint = json!({ "project": "12345", "endpoint": "https://psc.example:8443/" });
    for (settings, request, expected) in [
        (
            &global,
            SecretRequest::new("db", "k"),
            "https://secretmanager.googleapis.com/v1/projects/shop/secrets/db/versions/latest:access",
        ),
        (
            &global,
            SecretRequest::new("", "db"),
            "https://secretmanager.googleapis.com/v1/projects/shop/secrets/db/versions/latest:access",
        ),
        (
            &regional,
            SecretRequest::new("db", "k").version("7"),
            "https://secretmanager.europe-west3.rep.googleapis.com/v1/projects/example.com:shop/locations/europe-west3/secrets/db/versions/7:access",
        ),
        (
            &endpoint,
            SecretRequest::new("db", "k").version("prod"),
            "https://psc.example:8443/v1/projects/12345/secrets/db/versions/prod:access",
        ),
    ] {
        assert_eq!(url(settings.clone(), &request), Ok(expected.to_owned()));
    }
}

#[test]
fn a_name_cannot_lead_to_another_resource() {
    for (request, expected) in [
        (
            SecretRequest::new("a/versions/1", "k"),
            "invalid: \"a/versions/1\" is not a valid name of a secret [a/versions/1]",
        ),
        (SecretRequest::new("..", "k"), "invalid: \"..\" is not a valid name of a secret [..]"),
        (SecretRequest::new("db?x=", "k"), "invalid: \"db?x=\" is not a valid name of a secret [db?x=]"),
        (
            SecretRequest::new("db", "k").version("1:destroy"),
            "invalid: \"1:destroy\" is not a valid version of a secret [db@1:destroy]",
        ),
    ] {
        assert_eq!(url(json!({ "project": "shop" }), &request), Err(expected.to_owned()));
    }
}

#[test]
fn the_checksum_is_crc32c() {
    // The check value of the catalogue of CRC algorithms.
    assert_eq!(crc32c(b"123456789"), 0xE306_9283);
}

#[test]
fn returns_the_value_with_the_number_of_the_version() {
    let answer = |value: &str, checksum: Option<u32>| {
        let mut payload = json!({ "data": BASE64.encode(value.as_bytes()) });
        if let Some(checksum) = checksum {
            payload["dataCrc32c"] = checksum.to_string().into();
        }
        json!({ "name": "projects/12345/secrets/db/versions/7", "payload": payload })
    };
    let whole = SecretRequest::new("", "db");
    assert_eq!(fetch(&whole, 200, answer("hush", None)), "value hush, version 7");
    assert_eq!(fetch(&whole, 200, answer("hush", Some(crc32c(b"hush")))), "value hush, version 7");
    assert_eq!(fetch(&whole, 200, answer("hush", Some(1))), "unavailable: the value of secret db arrived damaged");
    let empty = json!({ "name": "projects/12345/secrets/db/versions/7", "payload": { "dataCrc32c": "0" } });
    assert_eq!(fetch(&whole, 200, empty), "value , version 7");
    let damaged = json!({ "name": "projects/12345/secrets/db/versions/7", "payload": { "data": "hush!" } });
    assert_eq!(fetch(&whole, 200, damaged), "internal: the answer for secret db has no valid value");
    let field = SecretRequest::new("db", "password").version("prod");
    assert_eq!(fetch(&field, 200, answer("{\"password\":\"hush\"}", None)), "value hush, version 7");
    assert_eq!(
        fetch(&field, 200, answer("{\"user\":\"hush\"}", None)),
        "not found: secret db@prod of Google Secret Manager has no key \"password\""
    );
}

#[test]
fn an_error_of_google_becomes_a_reason_without_its_message() {
    for (status, name, expected) in [
        (400, "FAILED_PRECONDITION", "not found: the version of secret db@2 is disabled or destroyed"),
        (400, "INVALID_ARGUMENT", "invalid: Google Secret Manager rejects the request for secret db@2"),
        (
            401,
            "UNAUTHENTICATED",
            "denied: Google Secret Manager rejects the webhook's credential; check `credential` of the host in grants.http",
        ),
        (403, "PERMISSION_DENIED", "denied: Google Secret Manager denies access to secret db@2"),
        (404, "NOT_FOUND", "not found: Google Secret Manager has no secret db@2"),
        (429, "RESOURCE_EXHAUSTED", "unavailable: Google Secret Manager answers with status 429"),
    ] {
        let body = json!({ "error": { "code": status, "message": "hush", "status": name } });
        assert_eq!(fetch(&SecretRequest::new("db", "k").version("2"), status, body), expected);
    }
}

#[test]
fn settings_that_would_change_the_host_or_the_path_are_rejected() {
    let project = "project: must be the id or number of a project";
    for (settings, expected) in [
        (json!({}), "missing field `project`"),
        (json!({ "project": "" }), project),
        (json!({ "project": "a/secrets" }), project),
        (json!({ "project": ".." }), project),
        (
            json!({ "project": "shop", "location": "a.example/" }),
            "location: must be the name of a location, such as europe-west3",
        ),
        (json!({ "project": "shop", "endpoint": "http://a.example" }), "endpoint: must begin with https://"),
    ] {
        assert_eq!(url(settings, &SecretRequest::new("db", "k")), Err(expected.to_owned()));
    }
}
