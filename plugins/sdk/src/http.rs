//! HTTP over TLS to the hosts that an admin has granted (`injectors[].grants.http`): [`get`], [`post_json`], [`Request::send`].
//!
//! The host judges every request: a host or port that the grant does not list, an address that no plugin may call and anything but
//! `https` end as [`Error::Denied`]. No redirect is followed: it is a [`Response`] like any other. In tests,
//! [`testing::answer_http`](crate::testing::answer_http) answers.
//!
//! ```no_run
//! use ampoule_plugin_sdk::{InjectionError, http};
//!
//! #[derive(serde::Deserialize)]
//! struct Answer { value: String }
//!
//! fn fetch(token: &str) -> Result<String, InjectionError> {
//!     let response = http::get("https://secrets.example.com/v1/db").header("authorization", token).send()?;
//!     match response.status {
//!         200 => Ok(response.json::<Answer>()?.value),
//!         404 => Err(InjectionError::not_found("the store has no secret db")),
//!         status => Err(InjectionError::unavailable(format!("the store answers with {status}"))),
//!     }
//! }
//! ```
//!
//! A component that uses this module imports `wasi:http`, and is refused where the grant is missing.

#[cfg(target_arch = "wasm32")]
mod wasi;

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use crate::InjectionError;

/// A request, to be sent once.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// `https://host[:port]/path?query`.
    pub url: String,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// Its body; none sends none.
    pub body: Option<Vec<u8>>,
}

/// A request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Asks for something.
    Get,
    /// Sends something.
    Post,
}

/// An answer, whatever its status.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Names in lower case, and values, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body, all of it.
    pub body: Vec<u8>,
}

/// Why there is no answer. The texts name the host, never a path, a header or a body, and are fit for a pod's author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No grant covers it.
    Denied(String),
    /// The request cannot be sent as it is.
    Invalid(String),
    /// The host cannot be reached, or does not answer as it should, or there was too much of something.
    Unavailable(String),
}

/// Asks for a URL.
#[must_use]
pub fn get(url: impl Into<String>) -> Request {
    Request { method: Method::Get, url: url.into(), headers: Vec::new(), body: None }
}

/// Sends a JSON document to a URL.
///
/// # Errors
///
/// If the document cannot be JSON.
pub fn post_json(url: impl Into<String>, document: &impl Serialize) -> Result<Request, Error> {
    let body = serde_json::to_vec(document).map_err(|error| Error::Invalid(format!("no JSON: {error}")))?;
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Ok(Request { method: Method::Post, url: url.into(), headers, body: Some(body) })
}

// === impl Request ===

impl Request {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends it and reads the whole answer. The plugin waits, and its deadline runs (`injectors[].limits.deadlineMillis`).
    ///
    /// # Errors
    ///
    /// If there is no whole answer. An answer of any status is none.
    pub fn send(&self) -> Result<Response, Error> {
        let target = Target::parse(&self.url)?;
        #[cfg(target_arch = "wasm32")]
        return wasi::send(self, &target);
        #[cfg(not(target_arch = "wasm32"))]
        return crate::testing::http(self, target.authority);
    }
}

impl fmt::Debug for Request {
    /// Without what may be secret: the path, the headers' values and the body.
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
    /// An answer with a JSON document, for tests.
    #[must_use]
    pub fn json_body(status: u16, document: &serde_json::Value) -> Self {
        Self { status, headers: Vec::new(), body: document.to_string().into_bytes() }
    }

    /// The first value of a header that is text; its name's case does not matter.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        values.find_map(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// If it is none of that form. The text has nothing of the body.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            Error::Unavailable(format!("the answer is not the JSON that was expected ({place})"))
        })
    }
}

impl fmt::Debug for Response {
    /// Without what may be secret: the headers' values and the body.
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
    /// A refusal is the admin's to change, so the next injector may be asked: it is `internal`, not `denied`.
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(text) | Error::Invalid(text) => Self::internal(text),
            Error::Unavailable(text) => Self::unavailable(text),
        }
    }
}

/// A URL, taken apart.
struct Target<'a> {
    authority: &'a str,
    #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "the tests' answers look at the URL"))]
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
            let reason = "the URL must have no user or password before its host: put them into a header";
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
    fn takes_a_url_apart() {
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
            let expected = "the URL must have no user or password before its host: put them into a header";
            assert_eq!(parse(url), Err(Error::Invalid(expected.to_owned())));
        }
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
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
        assert_eq!(error.to_string(), "the answer is not the JSON that was expected (line 1, column 0)");
    }
}
