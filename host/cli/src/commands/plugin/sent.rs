//! The HTTP requests that a plugin sent ([`SentRequest`]), and their document for comparison with
//! `sent` of the expected answer.
//!
//! The document has the form of the expected one: it contains only the keys and headers that a case
//! names. Values that may be secret are hidden when the document is printed.

use axum::{body::Bytes, http::Request};
use serde_json::{Map, Value, json};

/// A value of the expected document that matches any value.
const ANY_VALUE: &str = "redacted";
/// Parts of the names of headers whose values are never printed.
const SECRET_HEADERS: [&str; 6] = ["auth", "cookie", "token", "secret", "key", "password"];
/// Replaces a value that is never printed.
const HIDDEN: &str = "(hidden)";

/// A request that passed the checks of the host.
#[derive(Debug)]
pub(super) struct SentRequest {
    pub(super) request: Request<Bytes>,
    /// Whether the case has an answer to it.
    pub(super) is_answered: bool,
}

// === impl SentRequest ===

impl SentRequest {
    /// Method and URL.
    pub(super) fn method_and_url(&self) -> String {
        format!("{} {}", self.request.method(), self.request.uri())
    }

    /// The document in the form of the expected one.
    fn document(&self, expected: &Value) -> Value {
        let method_and_url = ["method", "url"].map(|key| (key, expected.get(key)));
        let mut document = Map::new();
        for (key, expected) in method_and_url {
            let value = if key == "url" { self.request.uri().to_string() } else { self.request.method().to_string() };
            if expected.is_some() || document_is_unknown(method_and_url) {
                document.insert(key.to_owned(), value.into());
            }
        }
        if let Some(headers) = expected["headers"].as_object() {
            let headers: Map<_, _> =
                headers.iter().map(|(name, value)| (name.clone(), self.header(name, value))).collect();
            document.insert("headers".to_owned(), headers.into());
        }
        if let Some(body) = expected.get("body") {
            document.insert("body".to_owned(), self.body(body));
        }
        document.into()
    }

    /// The values of a header, joined by commas. Null if the request does not have it.
    fn header(&self, name: &str, expected: &Value) -> Value {
        let values = self.request.headers().get_all(name).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        match values.is_empty() {
            true => Value::Null,
            false if expected == ANY_VALUE => ANY_VALUE.into(),
            false => values.join(", ").into(),
        }
    }

    /// The body: as text, or as JSON if the expected one is not a text.
    fn body(&self, expected: &Value) -> Value {
        let body = self.request.body();
        match expected {
            Value::String(text) if text == ANY_VALUE && !body.is_empty() => ANY_VALUE.into(),
            Value::String(_) => String::from_utf8_lossy(body).into(),
            _ => serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into()),
        }
    }
}

/// Whether the expected document names neither method nor URL, such as that of a request that is
/// not expected.
fn document_is_unknown(keys: [(&str, Option<&Value>); 2]) -> bool {
    keys.iter().all(|(_, expected)| expected.is_none())
}

/// The document of all requests, for the key `sent` of an answer.
pub(super) fn document(sent: &[SentRequest], expected: &Value) -> Value {
    let expected = |i: usize| expected.get(i).unwrap_or(&Value::Null);
    sent.iter().enumerate().map(|(i, request)| request.document(expected(i))).collect()
}

/// Replaces the values of a document `sent` that may be secret. `hide` does so in a text.
pub(super) fn hide(sent: &Value, hide: &dyn Fn(&str) -> String) -> Value {
    let requests = sent.as_array().into_iter().flatten();
    requests.map(|request| hide_values("", request, hide)).collect()
}

fn hide_values(key: &str, value: &Value, hide: &dyn Fn(&str) -> String) -> Value {
    let is_secret = || {
        let key = key.to_ascii_lowercase();
        SECRET_HEADERS.iter().any(|part| key.contains(part))
    };
    match value {
        Value::String(text) if text != ANY_VALUE && is_secret() => HIDDEN.into(),
        Value::String(text) => hide(text).into(),
        Value::Array(items) => items.iter().map(|item| hide_values(key, item, hide)).collect(),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), hide_values(key, value, hide)));
            entries.collect::<Map<_, _>>().into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => json!(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> [SentRequest; 1] {
        let request =
            Request::post("https://a.example/login").header("Authorization", "Bearer t0ken").header("x-kind", "kv");
        let request = request.body(Bytes::from_static(br#"{ "user": "web" }"#)).unwrap();
        [SentRequest { request, is_answered: true }]
    }

    #[test]
    fn compares_what_the_case_names() {
        for matching in [
            json!([{}]),
            json!([{ "url": "https://a.example/login" }]),
            json!([{ "method": "POST", "headers": { "authorization": "Bearer t0ken", "x-other": null } }]),
            json!([{ "method": "POST", "headers": { "authorization": "redacted" }, "body": "redacted" }]),
            json!([{ "method": "POST", "body": { "user": "web" } }]),
            json!([{ "method": "POST", "body": r#"{ "user": "web" }"# }]),
        ] {
            let actual = document(&sent(), &matching);
            assert!(actual == matching || matching == json!([{}]), "{actual}");
        }
        let other = json!([{ "method": "GET", "headers": { "x-kind": "kv2", "x-other": "redacted" } }]);
        let expected = json!([{ "method": "POST", "headers": { "x-kind": "kv", "x-other": null } }]);
        assert_eq!(document(&sent(), &other), expected);
        let unexpected = json!([{ "method": "POST", "url": "https://a.example/login" }]);
        assert_eq!(document(&sent(), &json!([])), unexpected);
    }

    #[test]
    fn hides_credentials() {
        let shape = json!([{ "method": "POST", "headers": { "Authorization": "", "x-kind": "" } }]);
        let hidden = hide(&document(&sent(), &shape), &str::to_owned);
        assert_eq!(hidden, json!([{ "method": "POST", "headers": { "Authorization": "(hidden)", "x-kind": "kv" } }]));
    }
}
