//! The plugin with answers from the test: the request, the edits, the value, and the errors.
//!
//! `tests/e2e/grants.rs` runs the built component with a real server.

use ampoule_plugin_sdk::{
    http::{Error, Request, Response},
    testing::{Harness, answer_http, set_variable, show, show_value},
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

fn harness() -> Harness<HttpJson> {
    Harness::new().settings(&settings())
}

/// Calls `inject`, which must send no request.
fn inject(request: &SecretRequest) -> String {
    answer_http(|_| panic!("inject must not send a request"));
    show(&harness().inject(request))
}

/// Fetches the value of a request's promise.
fn fetch(request: &SecretRequest, answer: impl Fn(&Request) -> Result<Response, Error> + 'static) -> String {
    set_variable("STORE_TOKEN", "t0ken\n");
    answer_http(move |request| answer(request));
    show_value(&harness().fetch(&Promise::of(request).unwrap()))
}

#[test]
fn answers_with_the_same_promise_for_each_variable() {
    let request = SecretRequest::new("team/db", "pass\"word").version("2").named("PASSWORD");
    let promise = r#"promise {"group":"team/db","version":"2","key":"pass\"word"}"#;
    assert_eq!(
        inject(&request),
        format!(
            "env _FSEC_TEAM/DB_PASS\"WORD = {promise}\nenv PASSWORD = {promise}\nenv FLYTE_SECRETS_ENV_PREFIX = _FSEC_"
        )
    );
    assert_eq!(
        inject(&SecretRequest::new("g", "k")),
        "env _FSEC_G_K = promise {\"group\":\"g\",\"version\":\"\",\"key\":\"k\"}\nenv FLYTE_SECRETS_ENV_PREFIX = _FSEC_"
    );
}

#[test]
fn sends_the_token_to_the_store_and_returns_the_value() {
    let request = SecretRequest::new("team/db", "pass word").version("2&x=1").named("PASSWORD");
    let answer = fetch(&request, |asked| {
        assert_eq!(asked.url, "https://store.example/v1/team%2Fdb/pass%20word?version=2%26x%3D1");
        let headers = [("accept", "application/json"), ("x-team", "ml"), ("authorization", "Bearer t0ken")];
        assert_eq!(asked.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Ok(Response::json_body(200, &json!({ "data": { "pass word": "hush" } })))
    });
    assert_eq!(answer, "value hush");
}

#[test]
fn every_answer_without_a_value_becomes_an_error() {
    for (status, body, expected) in [
        (200, json!({}), "not found: the store's answer for g/k has no value at \"/data/k\""),
        (
            200,
            json!({ "data": { "k": ["hush"] } }),
            "internal: the store's answer for g/k has an array or object at \"/data/k\"; check settings.pointer",
        ),
        (200, json!("hush"), "not found: the store's answer for g/k has no value at \"/data/k\""),
        (301, json!({}), "internal: the store answers with a redirect; set settings.url to its target"),
        (400, json!({}), "internal: the store answers with status 400; check settings.url"),
        (401, json!({}), "internal: the store rejects the plugin's credentials; check settings.headers"),
        (403, json!({}), "denied: the store denies access to secret g/k"),
        (404, json!({}), "not found: the store has no secret g/k"),
        (429, json!({}), "unavailable: the store answers with status 429"),
        (503, json!({}), "unavailable: the store answers with status 503"),
    ] {
        let answer = fetch(&SecretRequest::new("g", "k"), move |_| Ok(Response::json_body(status, &body)));
        assert_eq!(answer, expected, "{status}");
    }
    let not_json = |_: &Request| Ok(Response { status: 200, headers: Vec::new(), body: b"hush".to_vec() });
    let expected = "unavailable: unexpected JSON in the answer (line 1, column 1)";
    assert_eq!(fetch(&SecretRequest::new("g", "k"), not_json), expected);
    let down = |_: &Request| Err(Error::Unavailable("store.example: connection refused".to_owned()));
    assert_eq!(fetch(&SecretRequest::new("g", "k"), down), "unavailable: store.example: connection refused");
}

#[test]
fn a_number_is_a_valid_value() {
    let answer = fetch(&SecretRequest::new("g", "k"), |_| Ok(Response::json_body(200, &json!({ "data": { "k": 7 } }))));
    assert_eq!(answer, "value 7");
}

#[test]
fn rejects_an_invalid_request_without_a_call() {
    for (request, expected) in [
        (
            SecretRequest::new("g", "k").as_file(),
            "unsupported: http-json supports environment variables only, not files [g/k]",
        ),
        (SecretRequest::new("g", ""), "invalid: key must be set [g/]"),
        (SecretRequest::new("..", "k"), "invalid: group \"..\" must not contain the path segments `.` and `..` [../k]"),
        (SecretRequest::new("", "k"), "invalid: group must be set [/k]"),
        (
            SecretRequest::new("g", "k".repeat(1024)),
            "invalid: group, version and key must have at most 1024 bytes together, as JSON",
        ),
    ] {
        assert_eq!(inject(&request), expected);
    }
    // The JSON around the three texts has 34 bytes.
    assert!(inject(&SecretRequest::new("g", "k".repeat(989))).starts_with("env _FSEC_G_KKK"));
    assert!(inject(&SecretRequest::new("g", "k".repeat(990))).starts_with("invalid: group, version and key"));
}

#[test]
fn rejects_a_promise_of_another_plugin() {
    let expected = "internal: the promise is not valid: expected value at line 1 column 1";
    assert_eq!(show_value(&harness().fetch("g/k")), expected);
}

#[test]
fn sends_no_request_if_the_variable_is_not_set() {
    answer_http(|_| panic!("the plugin must not send a request"));
    let harness = Harness::<HttpJson>::new().settings(&json!({
        "url": "https://store.example/{key}",
        "headers": [{ "name": "x-token", "environment": "NOT_GRANTED" }],
    }));
    let expected = "internal: header x-token: variable NOT_GRANTED is not set or not in grants.environment";
    let promise = Promise::of(&SecretRequest::new("g", "k")).unwrap();
    assert_eq!(show_value(&harness.fetch(&promise)), expected);
}

#[test]
fn invalid_settings_are_rejected() {
    for (settings, expected) in [
        (json!({ "url": "http://a.example/{key}" }), "url: must begin with https://"),
        (json!({ "url": "https://{group}.example/{key}" }), "url: the host must not be empty or contain a placeholder"),
        (
            json!({ "url": "https://ci:hush@a.example/{key}" }),
            "url: must not contain a user or password; use headers[].environment",
        ),
        (json!({ "url": "https://a.example/{name}" }), "url: unknown placeholder; use {group}, {version} or {key}"),
        (
            json!({ "url": "https://a.example/", "pointer": "value" }),
            "pointer: must be a JSON pointer such as /data/value, not \"value\"",
        ),
        (
            json!({ "url": "https://a.example/", "headers": [{ "name": "a b", "value": "" }] }),
            "headers[0]: \"a b\" is not a valid header name",
        ),
        (
            json!({ "url": "https://a.example/", "headers": [{ "name": "a" }] }),
            "headers[0]: set either value or environment",
        ),
        (
            json!({ "url": "https://a.example/", "headers": [{ "name": "a", "value": "b", "prefix": "c" }] }),
            "headers[0]: prefix requires environment",
        ),
    ] {
        assert_eq!(Harness::<HttpJson>::new().settings(&settings).configure(), Err(expected.to_owned()));
    }
}

#[test]
fn the_committed_schema_matches_the_settings() {
    let derived = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    let written: Value = serde_json::from_str(HttpJson::SETTINGS_SCHEMA).unwrap();
    assert_eq!(
        written,
        derived,
        "settings.schema.json should be:\n{}",
        serde_json::to_string_pretty(&derived).unwrap()
    );
}
