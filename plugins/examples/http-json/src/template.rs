//! `{group}`, `{version}` and `{key}` in a URL and in a JSON pointer.
//!
//! What they stand for comes from a pod, so it is encoded: it can name another secret of the same store, never another place.

use ampoule_plugin_sdk::{InjectionError, SecretRequest};

/// A URL with names in its path or query.
pub(crate) struct Template(String);

// === impl Template ===

impl Template {
    pub(crate) fn parse(url: String) -> Result<Self, String> {
        let rest = url.strip_prefix("https://").ok_or("must begin with https://")?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.is_empty() || host.contains(['{', '}']) {
            return Err("must have a host of its own: a pod may not choose whom to ask".to_owned());
        }
        let unnamed = substitute(&url, |_| String::new());
        if unnamed.contains(['{', '}']) {
            return Err("knows {group}, {version} and {key} only".to_owned());
        }
        Ok(Self(url))
    }

    /// The URL of a secret.
    pub(crate) fn fill(&self, request: &SecretRequest) -> Result<String, InjectionError> {
        for (what, value) in values(request) {
            // Encoded or not, these are steps within a path to some servers.
            if matches!(value, "." | "..") {
                let reason = format!("{what} {value:?} is no name of a secret [{request}]");
                return Err(InjectionError::InvalidRequest(reason));
            }
        }
        Ok(substitute(&self.0, |name| percent_encode(value(request, name))))
    }
}

/// The JSON pointer of a secret.
pub(crate) fn fill_pointer(pointer: &str, request: &SecretRequest) -> String {
    substitute(pointer, |name| value(request, name).replace('~', "~0").replace('/', "~1"))
}

fn values(request: &SecretRequest) -> [(&'static str, &str); 3] {
    [("group", &request.group), ("version", &request.group_version), ("key", &request.key)]
}

fn value<'a>(request: &'a SecretRequest, name: &str) -> &'a str {
    values(request).into_iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

/// Replaces each name once, from left to right: what a value holds is not looked at again.
fn substitute(text: &str, replace: impl Fn(&str) -> String) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled += before;
        match after.split_once('}') {
            Some((name @ ("group" | "version" | "key"), after)) => {
                filled += &replace(name);
                rest = after;
            }
            _ => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled + rest
}

/// All but the unreserved characters of RFC 3986.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}
