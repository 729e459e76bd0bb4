//! The plugin with answers of a test's own: what it asks, what it makes of the answer, and what it says when there is none.
//!
//! `tests/sandbox/http_json.rs` has the built component and a real server.

use ampoule_plugin_sdk::{
    http::{Error, Request, Response},
    testing::{Harness, answer_http, set_variable, show},
};
use serde_json::{Value, json};

use super::*;

fn settings() -> Value {
    json!({
        "url": "https://store.example/v1/{group}/{key}?version={version}",
        "headers": [
            { "name": "x-team", "value": "ml" },
            { "name": "authorization", "environment": "STORE_TOKEN", "prefix": "Bearer " },
        ],
        "pointer": "/data/{key}",
    })
}

fn ask(request: &SecretRequest, answer: impl Fn(&Request) -> Result<Response, Error> + 'static) -> String {
    set_variable("STORE_TOKEN", "t0ken\n");
    answer_http(move |request| answer(request));
    show(&Harness::<HttpJson>::new().settings(&settings()).inject(request))
}

#[test]
fn asks_the_store_with_its_token_and_sets_the_value() {
    let request = SecretRequest::new("team/db", "pass word").version("2&x=1").named("PASSWORD");
    let answer = ask(&request, |asked| {
        assert_eq!(asked.url, "https://store.example/v1/team%2Fdb/pass%20word?version=2%26x%3D1");
        let headers = [("accept", "application/json"), ("x-team", "ml"), ("authorization", "Bearer t0ken")];
        assert_eq!(asked.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Ok(Response::json_body(200, &json!({ "data": { "pass word": "hush" } })))
    });
    assert!(answer.contains("_FSEC_TEAM/DB_PASS WORD") && answer.contains("PASSWORD"), "{answer}");
}

#[test]
fn says_what_an_answer_without_a_value_means() {
    for (status, body, expected) in [
        (200, json!({}), "not found: the store's answer for g/k has nothing at \"/data/k\""),
        (
            200,
            json!({ "data": { "k": ["hush"] } }),
            "internal: the store's answer for g/k has no single value at \"/data/k\" (settings.pointer)",
        ),
        (200, json!("hush"), "not found: the store's answer for g/k has nothing at \"/data/k\""),
        (301, json!({}), "internal: the store answers with a redirect: name where it leads (settings.url)"),
        (400, json!({}), "internal: the store answers with status 400 (settings.url)"),
        (401, json!({}), "internal: the store refuses the plugin's own token (settings.headers)"),
        (403, json!({}), "denied: the store does not give out secret g/k"),
        (404, json!({}), "not found: the store has no secret g/k"),
        (429, json!({}), "unavailable: the store answers with status 429"),
        (503, json!({}), "unavailable: the store answers with status 503"),
    ] {
        let answer = ask(&SecretRequest::new("g", "k"), move |_| Ok(Response::json_body(status, &body)));
        assert_eq!(answer.trim_end(), expected, "{status}");
    }
    let not_json = |_: &Request| Ok(Response { status: 200, headers: Vec::new(), body: b"hush".to_vec() });
    let expected = "unavailable: the answer is not the JSON that was expected (line 1, column 1)";
    assert_eq!(ask(&SecretRequest::new("g", "k"), not_json).trim_end(), expected);
    let down = |_: &Request| Err(Error::Unavailable("store.example: connection refused".to_owned()));
    assert_eq!(ask(&SecretRequest::new("g", "k"), down).trim_end(), "unavailable: store.example: connection refused");
}

#[test]
fn a_number_is_a_value() {
    let answer = ask(&SecretRequest::new("g", "k"), |_| Ok(Response::json_body(200, &json!({ "data": { "k": 7 } }))));
    assert!(answer.contains("_FSEC_G_K"), "{answer}");
}

#[test]
fn refuses_what_it_cannot_ask_for_without_asking() {
    let never = |_: &Request| panic!("nobody must be asked");
    for (request, expected) in [
        (SecretRequest::new("g", "k").as_file(), "unsupported: http-json gives variables, not files [g/k]"),
        (SecretRequest::new("g", ""), "invalid: a key is needed [g/]"),
        (SecretRequest::new("..", "k"), "invalid: group \"..\" is no name of a secret [../k]"),
        (SecretRequest::new("", "k"), "invalid: a group is needed [/k]"),
    ] {
        assert_eq!(ask(&request, never).trim_end(), expected);
    }
}

#[test]
fn without_the_variable_there_is_no_call() {
    answer_http(|_| panic!("nobody must be asked"));
    let harness = Harness::<HttpJson>::new().settings(&json!({
        "url": "https://store.example/{key}",
        "headers": [{ "name": "x-token", "environment": "NOT_GRANTED" }],
    }));
    let expected = "internal: variable NOT_GRANTED is not there for header x-token (grants.environment)";
    assert_eq!(show(&harness.inject(&SecretRequest::new("g", "k"))).trim_end(), expected);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for (settings, expected) in [
        (json!({ "url": "http://a.example/{key}" }), "url: must begin with https://"),
        (
            json!({ "url": "https://{group}.example/{key}" }),
            "url: must have a host of its own: a pod may not choose whom to ask",
        ),
        (
            json!({ "url": "https://ci:hush@a.example/{key}" }),
            "url: must have no user or password before its host: name a header whose value is a variable (headers[].environment)",
        ),
        (json!({ "url": "https://a.example/{name}" }), "url: knows {group}, {version} and {key} only"),
        (
            json!({ "url": "https://a.example/", "pointer": "value" }),
            "pointer: must be a JSON pointer such as /data/value, not \"value\"",
        ),
        (
            json!({ "url": "https://a.example/", "headers": [{ "name": "a b", "value": "" }] }),
            "headers[0]: \"a b\" is no name of a header",
        ),
        (
            json!({ "url": "https://a.example/", "headers": [{ "name": "a" }] }),
            "headers[0]: one of value and environment must be set",
        ),
        (
            json!({ "url": "https://a.example/", "headers": [{ "name": "a", "value": "b", "prefix": "c" }] }),
            "headers[0]: prefix goes with environment only",
        ),
    ] {
        assert_eq!(Harness::<HttpJson>::new().settings(&settings).configure(), Err(expected.to_owned()));
    }
}

#[test]
fn the_schema_is_that_of_the_settings() {
    let derived = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    let written: Value = serde_json::from_str(HttpJson::SETTINGS_SCHEMA).unwrap();
    assert_eq!(
        written,
        derived,
        "settings.schema.json should be:\n{}",
        serde_json::to_string_pretty(&derived).unwrap()
    );
}
