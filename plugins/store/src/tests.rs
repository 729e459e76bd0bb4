//! A small store run natively: the requests of pods, the variables, the promises, the fields of a
//! value, and the reasons.

use ampoule_plugin_sdk::{
    http::{self, Error},
    testing::{Harness, answer_http, show, show_value},
};
use serde_json::json;

use super::*;

/// A store whose answer is the document.
struct Shelf;

impl Store for Shelf {
    type Settings = serde_json::Value;
    const TITLE: &'static str = "the shelf";
    const ADDRESS: &'static str = "url";

    fn new(_: Self::Settings) -> Result<Self, String> {
        Ok(Self)
    }

    fn ask(&self, secret: &Secret) -> Result<Request, InjectionError> {
        secret.check("name", &secret.name, |byte| byte != b' ')?;
        Ok(http::get(format!("https://shelf.example/{}", secret.name)))
    }

    fn read(&self, secret: &Secret, answer: &Response) -> Result<FetchedValue, InjectionError> {
        secret.value::<Self>(answer.body.clone())
    }
}

struct Plugin;

impl StorePlugin for Plugin {
    type Store = Shelf;
    const NAME: &'static str = "shelf";
    const VERSION: &'static str = "1.0.0";
    const SETTINGS_SCHEMA: &'static str = "{}";
}

fn inject(request: &SecretRequest) -> String {
    answer_http(|_| panic!("inject must not send a request"));
    show(&Harness::<StoreInjector<Plugin>>::new().inject(request))
}

/// Fetches the value of a request's promise.
fn fetch(request: &SecretRequest, answer: impl Fn(&Request) -> Result<Response, Error> + 'static) -> String {
    answer_http(move |request| answer(request));
    let promise = Secret::of(request).unwrap().to_promise().unwrap();
    show_value(&Harness::<StoreInjector<Plugin>>::new().fetch(&promise))
}

#[test]
fn a_promise_is_set_under_flytes_name_and_the_requested_name() {
    for (request, expected) in [
        (
            SecretRequest::new("db", "password").version("7").named("DB_PASSWORD"),
            "env _FSEC_DB_PASSWORD = promise {\"name\":\"db\",\"version\":\"7\",\"field\":\"password\"}\n\
             env DB_PASSWORD = promise {\"name\":\"db\",\"version\":\"7\",\"field\":\"password\"}\n",
        ),
        (SecretRequest::new("", "token"), "env _FSEC_TOKEN = promise {\"name\":\"token\"}\n"),
        (
            SecretRequest::new("team/db", "password").named("PASSWORD"),
            "env PASSWORD = promise {\"name\":\"team/db\",\"field\":\"password\"}\n",
        ),
        (
            SecretRequest::new("team/db", "password"),
            "env _FSEC_TEAM/DB_PASSWORD = promise {\"name\":\"team/db\",\"field\":\"password\"}\n",
        ),
    ] {
        assert_eq!(inject(&request), format!("{expected}env FLYTE_SECRETS_ENV_PREFIX = _FSEC_"));
    }
}

#[test]
fn a_file_is_in_a_folder_of_one_segment() {
    let directory = "/etc/flyte/secrets";
    let env = "env FLYTE_SECRETS_DEFAULT_DIR = /etc/flyte/secrets\nenv FLYTE_SECRETS_FILE_PREFIX = ";
    for (request, path, promise, variable) in [
        (SecretRequest::new("db", "ca.crt"), "db/ca.crt", r#"{"name":"db","field":"ca.crt"}"#, ""),
        (
            SecretRequest::new("arn:aws:Team/db", "Key").named("KEY_FILE"),
            "arn_aws_team_db/key",
            r#"{"name":"arn:aws:Team/db","field":"Key"}"#,
            "\nenv KEY_FILE = /etc/flyte/secrets/arn_aws_team_db/key",
        ),
        (SecretRequest::new("", "team/token"), "shelf/team_token", r#"{"name":"team/token"}"#, ""),
    ] {
        let expected = format!("file {directory}/{path} = promise {promise}\n{env}{variable}");
        assert_eq!(inject(&request.as_file()), expected);
    }
}

#[test]
fn a_path_keeps_its_case_in_the_profile_plain() {
    let request = SecretRequest::new("arn:aws:Team/db", "Key").named("KEY_FILE").as_file();
    let shown = show(&Harness::<StoreInjector<Plugin>>::new().profile("plain").inject(&request));
    assert!(shown.starts_with("file /etc/secrets/arn_aws_Team_db/Key = promise "), "{shown}");
    assert!(shown.ends_with("\nenv KEY_FILE = /etc/secrets/arn_aws_Team_db/Key"), "{shown}");
}

#[test]
fn a_request_that_the_store_cannot_serve_is_rejected_without_a_call() {
    for (request, expected) in [
        (
            SecretRequest::new("..", "k").as_file(),
            "invalid: group \"..\" cannot name a file: leave out `/`, `:` and leading `..`",
        ),
        (SecretRequest::new("g", ""), "invalid: key must be set [g/]"),
        (SecretRequest::new("a b", "k").version("2"), "invalid: \"a b\" is not a valid name [a b@2]"),
        (
            SecretRequest::new("g", "k".repeat(1024)),
            "invalid: group, version and key must have at most 1024 bytes together, as JSON",
        ),
        (
            SecretRequest::new("g", "k").named("A=B"),
            "invalid: \"A=B\" cannot name an environment variable: use letters, digits and `_`",
        ),
    ] {
        assert_eq!(inject(&request), expected);
    }
}

#[test]
fn a_key_selects_a_field_of_the_value() {
    let document = r#"{"text": "a\"b\u00e9", "number": 1.10, "big": 123456789012345678901234567890, "flag": true,
        "none": null, "nested": {"a": [1, "x"]}, "": "unnamed", "twice": "first", "twice": "last"}"#;
    let missing = |key: &str| format!("not found: secret g of the shelf has no key {key:?}");
    for (key, expected) in [
        ("text", "value a\"bé".to_owned()),
        ("number", "value 1.10".to_owned()),
        ("big", "value 123456789012345678901234567890".to_owned()),
        ("flag", "value true".to_owned()),
        ("nested", "value {\"a\": [1, \"x\"]}".to_owned()),
        ("twice", "value last".to_owned()),
        ("none", missing("none")),
        ("a", missing("a")),
        ("nested.a", missing("nested.a")),
    ] {
        let answer = move |_: &Request| Ok(Response { status: 200, headers: Vec::new(), body: document.into() });
        assert_eq!(fetch(&SecretRequest::new("g", key), answer), expected);
    }
}

#[test]
fn a_value_that_is_not_an_object_has_no_fields_and_is_not_shown() {
    for document in
        ["hush", "\"hush\"", "[\"hush\"]", "", "{\"k\": \"hush\"", "{\"k\": \"hush\"} hush", "{\"k\": \"hu\\q\"}"]
    {
        let answer = move |_: &Request| Ok(Response { status: 200, headers: Vec::new(), body: document.into() });
        assert_eq!(
            fetch(&SecretRequest::new("g", "k"), answer),
            "invalid: secret g of the shelf is not a JSON object, so it has no key \"k\"; to get the whole value, use \
             the name as the key, without a group"
        );
        assert_eq!(fetch(&SecretRequest::new("", "g"), answer), format!("value {document}"));
    }
}

#[test]
fn every_status_becomes_a_reason_without_the_body() {
    for (status, expected) in [
        (302, "internal: the shelf answers with a redirect; check settings.url"),
        (400, "invalid: the shelf rejects the request for secret g@3"),
        (401, "denied: the shelf rejects the webhook's credential; check `credential` of the host in grants.http"),
        (403, "denied: the shelf denies access to secret g@3"),
        (404, "not found: the shelf has no secret g@3"),
        (405, "internal: the shelf answers with status 405; check settings.url"),
        (429, "unavailable for 7 s: the shelf answers with status 429"),
        (500, "unavailable for 7 s: the shelf answers with status 500"),
        (503, "unavailable for 7 s: the shelf answers with status 503"),
    ] {
        let answer = fetch(&SecretRequest::new("g", "k").version("3"), move |_| {
            let headers = vec![("retry-after".to_owned(), b"7".to_vec())];
            Ok(Response { headers, ..Response::json_body(status, &json!("hush")) })
        });
        assert_eq!(answer, expected);
    }
    for retry_after in ["-1", "Sun, 29 Nov 2026 10:00:00 GMT", "99999999999"] {
        let answer = fetch(&SecretRequest::new("g", "k"), move |_| {
            let headers = vec![("retry-after".to_owned(), retry_after.into())];
            Ok(Response { headers, ..Response::json_body(503, &json!("hush")) })
        });
        assert_eq!(answer, "unavailable: the shelf answers with status 503");
    }
    let down = |_: &Request| Err(Error::Unavailable("shelf.example: connection refused".to_owned()));
    assert_eq!(fetch(&SecretRequest::new("g", "k"), down), "unavailable: shelf.example: connection refused");
}

#[test]
fn a_promise_of_another_plugin_is_rejected() {
    let harness = Harness::<StoreInjector<Plugin>>::new();
    for promise in ["g/k", "{}", r#"{"name":"g","key":"k"}"#] {
        let answer = show_value(&harness.fetch(promise));
        assert!(answer.starts_with("internal: the promise is not valid: "), "{answer}");
    }
}

#[test]
fn the_url_of_a_store_is_https_without_other_parts() {
    let whole = Err("url: must be https://HOST[:PORT][/PATH], without a user, a query or a fragment".to_owned());
    for (url, expected) in [
        ("https://a.example", Ok("https://a.example".to_owned())),
        ("https://a.example:8200/vault/", Ok("https://a.example:8200/vault".to_owned())),
        ("http://a.example", Err("url: must begin with https://".to_owned())),
        ("https://ci:hush@a.example", whole.clone()),
        ("https://a.example?x", whole.clone()),
        ("https://a.example/#x", whole.clone()),
        ("https:///x", whole),
    ] {
        assert_eq!(base_url("url", url), expected);
    }
}
