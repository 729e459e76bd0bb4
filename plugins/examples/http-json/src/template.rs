//! `{group}`, `{version}` and `{key}` in a URL and in a JSON pointer.
//!
//! What they stand for comes from a pod, so it is encoded, and may be neither empty nor a step (`..`) within a path: it can name
//! another secret of the same store, never another place.

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
        if host.contains('@') {
            return Err("must have no user or password before its host: name a header whose value is a variable \
                        (headers[].environment)"
                .to_owned());
        }
        let unnamed = substitute(&url, |_| String::new());
        if unnamed.contains(['{', '}']) {
            return Err("knows {group}, {version} and {key} only".to_owned());
        }
        Ok(Self(url))
    }

    /// The URL of a secret.
    pub(crate) fn fill(&self, request: &SecretRequest) -> Result<String, InjectionError> {
        let path = self.0.split(['?', '#']).next().unwrap_or_default();
        for (what, value) in values(request) {
            // Encoded or not, these are steps within a path to some servers.
            if value.split(['/', '\\']).any(|step| matches!(step, "." | "..")) {
                let reason = format!("{what} {value:?} is no name of a secret [{request}]");
                return Err(InjectionError::InvalidRequest(reason));
            }
            // A path with a part less names another thing, such as a whole folder.
            if value.is_empty() && path.contains(&format!("{{{what}}}")) {
                return Err(InjectionError::InvalidRequest(format!("a {what} is needed [{request}]")));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(url: &str, group: &str, key: &str) -> Result<String, String> {
        let filled = Template::parse(url.to_owned())?.fill(&SecretRequest::new(group, key));
        filled.map_err(|error| match error {
            InjectionError::InvalidRequest(reason) => reason,
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn a_value_is_a_name_and_never_a_step_within_the_path() {
        const URL: &str = "https://a.example/v1/{group}/{key}";
        for group in [".", "..", "../other", "team/..", "team/../x", "team/./x", r"..\other", r"team\..", r"a/..\b"] {
            assert_eq!(fill(URL, group, "k"), Err(format!("group {group:?} is no name of a secret [{group}/k]")));
        }
        for (group, filled) in [
            ("...", "..."),
            (".hidden", ".hidden"),
            ("a..b", "a..b"),
            ("team/db..", "team%2Fdb.."),
            (r"team\db", "team%5Cdb"),
        ] {
            assert_eq!(fill(URL, group, "k"), Ok(format!("https://a.example/v1/{filled}/k")));
        }
    }

    #[test]
    fn a_value_in_the_path_is_not_empty() {
        for (url, filled) in [
            ("https://a.example/v1/{group}/{key}", Err("a group is needed [/k]")),
            ("https://a.example/v1/x-{group}/{key}", Err("a group is needed [/k]")),
            ("https://a.example/v1/{version}/{key}", Err("a version is needed [/k]")),
            ("https://a.example/{key}?group={group}&version={version}", Ok("https://a.example/k?group=&version=")),
            ("https://a.example?key={key}&path=/{group}", Ok("https://a.example?key=k&path=/")),
            ("https://a.example/{key}#{group}", Ok("https://a.example/k#")),
        ] {
            assert_eq!(fill(url, "", "k"), filled.map(str::to_owned).map_err(str::to_owned), "{url}");
        }
    }
}
