//! The plugin with answers from the test: the requests, the value, the cache, and the errors.
//!
//! `tests/e2e/stores.rs` runs the built component with a real server.

use std::{cell::RefCell, rc::Rc};

use ampoule_plugin_sdk::{
    http::{Request, Response},
    testing::{Harness, answer_http, clear_cache, show, show_value},
};
use serde_json::{Value, json};

use super::*;

const VAULT: &str = "https://connect.example/v1/vaults?filter=name%20eq%20%22Apps%22";
const ITEMS: &str = "https://connect.example/v1/vaults/v1/items?filter=title%20eq%20%22data%20base%22";
const ITEM: &str = "https://connect.example/v1/vaults/v1/items/i1";

fn harness() -> Harness<OnePasswordConnect> {
    Harness::new().settings(&json!({ "url": "https://connect.example/", "vault": "Apps" }))
}

/// Calls `inject`, which must send no request.
fn inject(request: &SecretRequest) -> String {
    answer_http(|_| panic!("inject must not send a request"));
    show(&harness().inject(request))
}

/// Fetches a field of the item `data base`, and returns the answer and the URLs of the requests.
fn fetch(field: &str, answer: impl Fn(&str) -> (u16, Value) + 'static) -> (String, Vec<String>) {
    let urls = Rc::<RefCell<Vec<String>>>::default();
    let log = Rc::clone(&urls);
    answer_http(move |request: &Request| {
        log.borrow_mut().push(request.url.clone());
        let (status, body) = answer(&request.url);
        Ok(Response::json_body(status, &body))
    });
    let value = show_value(&harness().fetch(&json!({ "item": "data base", "field": field }).to_string()));
    (value, urls.take())
}

/// The answers of a server with one item.
fn server(url: &str) -> (u16, Value) {
    match url {
        VAULT => (200, json!([{ "id": "v1", "name": "Apps" }])),
        ITEMS => (200, json!([{ "id": "i1", "title": "data base" }])),
        ITEM => (
            200,
            json!({ "id": "i1", "version": 4, "fields": [
                { "id": "username", "label": "user", "value": "app" },
                { "id": "password", "type": "CONCEALED", "label": "password", "value": "hush" },
                { "id": "notesPlain", "label": "notes" },
            ] }),
        ),
        _ => panic!("unexpected request for {url}"),
    }
}

#[test]
fn a_promise_names_item_and_field() {
    let promise = r#"promise {"item":"data base","field":"password"}"#;
    let request = SecretRequest::new("data base", "password");
    assert_eq!(inject(&request.clone().named("DB_PASSWORD")), format!("env DB_PASSWORD = {promise}"));
    assert_eq!(inject(&request), format!("env _FSEC_DATA BASE_PASSWORD = {promise}"));
}

#[test]
fn a_field_is_found_by_its_label_or_id() {
    clear_cache();
    let (value, urls) = fetch("password", server);
    assert_eq!(value, "value hush, version 4");
    assert_eq!(urls, [VAULT, ITEMS, ITEM]);
    // The cache has the id of the vault.
    assert_eq!(fetch("username", server), ("value app, version 4".to_owned(), vec![ITEMS.to_owned(), ITEM.to_owned()]));
    for field in ["notes", "absent"] {
        let expected = format!("not found: item \"data base\" has no value in a field {field:?}");
        assert_eq!(fetch(field, server).0, expected);
    }
}

#[test]
fn every_answer_without_a_value_becomes_a_reason() {
    for (status, body, expected) in [
        (200, json!([]), "not found: Connect has nothing with the name \"Apps\""),
        (
            200,
            json!([{ "id": "a" }, { "id": "b" }]),
            "invalid: Connect has several entries with the name \"Apps\"; rename them",
        ),
        (200, json!([{ "id": "../hush" }]), "internal: Connect answers with an id that is not valid"),
        (200, json!("hush"), "unavailable: unexpected JSON in the answer (line 1, column 6)"),
        (301, json!("hush"), "internal: Connect answers with 301; check settings.url"),
        (401, json!("hush"), "denied: Connect rejects the token; check the credential in grants.http"),
        (403, json!("hush"), "denied: Connect denies the token access to this vault or item"),
        (404, json!("hush"), "not found: Connect has no such vault or item"),
        (500, json!("hush"), "unavailable: Connect answers with 500"),
    ] {
        clear_cache();
        assert_eq!(fetch("password", move |_| (status, body.clone())).0, expected);
    }
}

#[test]
fn a_request_that_connect_cannot_serve_is_rejected() {
    let name = "must be a name without quotation marks and backslashes";
    for (request, expected) in [
        (
            SecretRequest::new("a", "b").as_file(),
            "unsupported: onepassword-connect sets environment variables only".to_owned(),
        ),
        (SecretRequest::new("a", ""), "invalid: set the key, and no version: Connect has none [a/]".to_owned()),
        (
            SecretRequest::new("a", "b").version("1"),
            "invalid: set the key, and no version: Connect has none [a/b@1]".to_owned(),
        ),
        (SecretRequest::new("", "b"), format!("invalid: group: {name} [/b]")),
        (SecretRequest::new("a\" or title eq \"b", "k"), format!("invalid: group: {name} [a\" or title eq \"b/k]")),
        (
            SecretRequest::new("a", "k".repeat(1024)),
            "invalid: group and key must have at most 1024 bytes as JSON".to_owned(),
        ),
    ] {
        assert_eq!(inject(&request), expected);
    }
}

#[test]
fn invalid_settings_are_rejected() {
    for (settings, expected) in [
        (json!({ "url": "http://connect.example", "vault": "Apps" }), "url: must begin with https://"),
        (
            json!({ "url": "https://connect.example", "vault": "" }),
            "vault: must be a name without quotation marks and backslashes",
        ),
    ] {
        assert_eq!(Harness::<OnePasswordConnect>::new().settings(&settings).configure(), Err(expected.to_owned()));
    }
}

#[test]
fn the_committed_schema_matches_the_settings() {
    let derived = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    let written: Value = serde_json::from_str(OnePasswordConnect::SETTINGS_SCHEMA).unwrap();
    assert_eq!(written, derived, "settings.schema.json should be:\n{derived:#}");
}
