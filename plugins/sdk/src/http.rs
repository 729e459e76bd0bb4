//! HTTP over TLS to the hosts that an admin granted (`injectors[].grants.http`): [`get`],
//! [`post_json`], [`Request::send`].
//!
//! The host checks every request. A host or port that the grant does not list, a prohibited
//! address, and any scheme other than `https` fail with [`Error::Denied`]. The host does not follow
//! redirects: a redirect is a normal [`Response`]. In tests,
//! [`testing::answer_http`](crate::testing::answer_http) provides the answers.
//!
//! ```no_run
//! use ampoule_plugin_sdk::{InjectionError, http};
//!
//! #[derive(serde::Deserialize)]
//! struct Answer { value: String }
//!
//! fn fetch(token: &str) -> Result<String, InjectionError> {
//!     let request = http::get("https://secrets.example.com/v1/db");
//!     let response = request.header("authorization", token).send()?;
//!     match response.status {
//!         200 => Ok(response.json::<Answer>()?.value),
//!         404 => Err(InjectionError::not_found("the store has no secret db")),
//!         status => Err(InjectionError::unavailable(format!("the store answers with {status}"))),
//!     }
//! }
//! ```
//!
//! Without the grant, every request fails with [`Error::Denied`].

#[cfg(target_arch = "wasm32")]
mod wasi;

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use crate::InjectionError;

/// A request.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// `https://host[:port]/path?query`.
    pub url: String,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// Its body, if any.
    pub body: Option<Vec<u8>>,
}

/// A request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
}

/// An answer of any status.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Names in lower case with their values, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its complete body.
    pub body: Vec<u8>,
}

/// The reason why there is no answer. The texts name the host, never a path, a header or a body,
/// and may be shown to a pod's author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No grant covers the request.
    Denied(String),
    /// The request is not valid.
    Invalid(String),
    /// The host is unreachable or sent an unexpected answer, or the request or answer exceeded a
    /// limit.
    Unavailable(String),
}

/// Creates a GET request.
#[must_use]
pub fn get(url: impl Into<String>) -> Request {
    Request { method: Method::Get, url: url.into(), headers: Vec::new(), body: None }
}

/// Creates a POST request with a JSON document.
///
/// # Errors
///
/// The document cannot be serialized as JSON.
pub fn post_json(url: impl Into<String>, document: &impl Serialize) -> Result<Request, Error> {
    let body = serde_json::to_vec(document)
        .map_err(|error| Error::Invalid(format!("cannot serialize the document as JSON: {error}")))?;
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Ok(Request { method: Method::Post, url: url.into(), headers, body: Some(body) })
}

/// Encodes a text for a segment of a path or for the query of a URL: all characters except the
/// unreserved ones of RFC 3986.
///
/// It does not change the segments `.` and `..`: use [`url_segment`] if the text comes from a pod.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// Encodes a text of a pod, such as a request's key, for one segment of a path. Without it, a pod's
/// author could choose another path of the store with `..`, `/`, `?` or `#`. The message contains
/// `what`.
///
/// # Errors
///
/// The text is empty, `.` or `..`, which has a meaning in a path even if it is encoded.
pub fn url_segment(what: &str, text: &str) -> Result<String, InjectionError> {
    if matches!(text, "" | "." | "..") {
        let reason = format!("{what} {text:?} cannot be part of a URL: it must not be empty, `.` or `..`");
        return Err(InjectionError::InvalidRequest(reason));
    }
    Ok(percent_encode(text))
}

// === impl Request ===

impl Request {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends the request and reads the complete answer. The wait counts towards the plugin's
    /// deadline (`injectors[].limits.deadlineMillis`).
    ///
    /// # Errors
    ///
    /// No complete answer arrived. An answer with an error status is not an error here.
    pub fn send(&self) -> Result<Response, Error> {
        let target = Target::parse(&self.url)?;
        #[cfg(target_arch = "wasm32")]
        return wasi::send(self, &target);
        #[cfg(not(target_arch = "wasm32"))]
        return crate::testing::http(self, target.authority);
    }
}

impl fmt::Debug for Request {
    /// Omits everything that may be secret: the path, the headers' values and the body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, url, headers, body: _ } = self;
        let authority = Target::parse(url).map(|target| target.authority);
        let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Request")
            .field("method", method)
            .field("authority", &authority)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

// === impl Response ===

impl Response {
    /// Creates an answer with a JSON document, for tests.
    #[must_use]
    pub fn json_body(status: u16, document: &serde_json::Value) -> Self {
        Self { status, headers: Vec::new(), body: document.to_string().into_bytes() }
    }

    /// Returns the first value of a header that is valid UTF-8. The name is case-insensitive.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        values.find_map(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// Parses the body as JSON.
    ///
    /// # Errors
    ///
    /// The body is not JSON of this type. The text contains no part of the body.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            Error::Unavailable(format!("unexpected JSON in the answer ({place})"))
        })
    }
}

impl fmt::Debug for Response {
    /// Omits everything that may be secret: the headers' values and the body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

// === impl Error ===

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Denied(text) | Self::Invalid(text) | Self::Unavailable(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for Error {}

impl From<Error> for InjectionError {
    /// Only the admin can add a missing grant, and another injector may serve the pod, so a refusal
    /// becomes `internal`, not `denied`.
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(text) | Error::Invalid(text) => Self::internal(text),
            Error::Unavailable(text) => Self::unavailable(text),
        }
    }
}

/// The parts of a URL.
struct Target<'a> {
    authority: &'a str,
    #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only the WebAssembly implementation reads it"))]
    path_with_query: String,
}

// === impl Target ===

impl<'a> Target<'a> {
    fn parse(url: &'a str) -> Result<Self, Error> {
        let rest = url
            .strip_prefix("https://")
            .ok_or_else(|| Error::Invalid("the URL must begin with https://".to_owned()))?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.is_empty() {
            return Err(Error::Invalid("the URL has no host".to_owned()));
        }
        if authority.contains('@') {
            let reason = "the URL must not contain a user or password: use a header instead";
            return Err(Error::Invalid(reason.to_owned()));
        }
        let path = path.split('#').next().unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { authority, path_with_query: [slash, path].concat() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_url() {
        let parse = |url| Target::parse(url).map(|target| (target.authority.to_owned(), target.path_with_query));
        for (url, authority, path) in [
            ("https://a.example", "a.example", "/"),
            ("https://a.example:8443/v1/x?y=z#part", "a.example:8443", "/v1/x?y=z"),
            ("https://a.example?y", "a.example", "/?y"),
            ("https://a.example/@x", "a.example", "/@x"),
        ] {
            assert_eq!(parse(url), Ok((authority.to_owned(), path.to_owned())));
        }
        assert_eq!(parse("http://a.example"), Err(Error::Invalid("the URL must begin with https://".to_owned())));
        assert_eq!(parse("https:///x"), Err(Error::Invalid("the URL has no host".to_owned())));
        for url in ["https://ci:hush@a.example/", "https://hush@a.example", "https://ci:hush@@a.example?x"] {
            let expected = "the URL must not contain a user or password: use a header instead";
            assert_eq!(parse(url), Err(Error::Invalid(expected.to_owned())));
        }
    }

    #[test]
    fn encodes_all_characters_that_have_a_meaning_in_a_url() {
        assert_eq!(percent_encode("a-Z_0.~"), "a-Z_0.~");
        assert_eq!(percent_encode("a/b?c=d&e#f g%\"é"), "a%2Fb%3Fc%3Dd%26e%23f%20g%25%22%C3%A9");
    }

    #[test]
    fn a_segment_of_a_url_stays_a_segment() {
        assert_eq!(url_segment("key", "a/b?c"), Ok("a%2Fb%3Fc".to_owned()));
        for text in ["", ".", ".."] {
            let reason = format!("key {text:?} cannot be part of a URL: it must not be empty, `.` or `..`");
            assert_eq!(url_segment("key", text), Err(InjectionError::InvalidRequest(reason)));
        }
    }

    #[test]
    fn debug_output_omits_secrets() {
        let request = get("https://a.example/path?token=hush").header("authorization", "hush");
        assert_eq!(
            format!("{request:?}"),
            r#"Request { method: Get, authority: Ok("a.example"), headers: ["authorization"], .. }"#
        );
        let shown = format!("{:?}", get("https://ci:hush@a.example/"));
        assert!(shown.contains("authority: Err(Invalid(") && !shown.contains("hush"), "{shown}");
        let response = Response::json_body(200, &serde_json::json!({ "value": "hush" }));
        assert_eq!(format!("{response:?}"), "Response { status: 200, .. }");
        let error = response.json::<Vec<String>>().unwrap_err();
        assert_eq!(error.to_string(), "unexpected JSON in the answer (line 1, column 0)");
    }
}
