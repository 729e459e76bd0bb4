//! The placeholders `{group}`, `{version}` and `{key}` in a URL and in a JSON pointer.
//!
//! The values come from a pod. Therefore they are encoded, and must not contain the segments `.` or
//! `..`; in the path of the URL they must not be empty. A pod can select another secret of the same
//! store, but no other resource.

use ampoule_plugin_sdk::{InjectionError, SecretRequest, http::percent_encode};

/// A URL with placeholders in its path or query.
pub(crate) struct Template(String);

// === impl Template ===

impl Template {
    pub(crate) fn parse(url: String) -> Result<Self, String> {
        let rest = url.strip_prefix("https://").ok_or("must begin with https://")?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.is_empty() || host.contains(['{', '}']) {
            return Err("the host must not be empty or contain a placeholder".to_owned());
        }
        if host.contains('@') {
            return Err("must not contain a user or password; use headers[].environment".to_owned());
        }
        let without_placeholders = substitute(&url, |_| String::new());
        if without_placeholders.contains(['{', '}']) {
            return Err("unknown placeholder; use {group}, {version} or {key}".to_owned());
        }
        Ok(Self(url))
    }

    /// Returns the URL of a secret.
    pub(crate) fn fill(&self, request: &SecretRequest) -> Result<String, InjectionError> {
        let path = self.0.split(['?', '#']).next().unwrap_or_default();
        for (what, value) in values(request) {
            // Some servers treat these as path segments even if they are encoded.
            if value.split(['/', '\\']).any(|step| matches!(step, "." | "..")) {
                let reason = format!("{what} {value:?} must not contain the path segments `.` and `..` [{request}]");
                return Err(InjectionError::InvalidRequest(reason));
            }
            // A path without this part would be another resource, such as a folder.
            if value.is_empty() && path.contains(&format!("{{{what}}}")) {
                return Err(InjectionError::InvalidRequest(format!("{what} must be set [{request}]")));
            }
        }
        Ok(substitute(&self.0, |name| percent_encode(value(request, name))))
    }
}

/// Returns the JSON pointer of a secret.
pub(crate) fn fill_pointer(pointer: &str, request: &SecretRequest) -> String {
    substitute(pointer, |name| value(request, name).replace('~', "~0").replace('/', "~1"))
}

fn values(request: &SecretRequest) -> [(&'static str, &str); 3] {
    [("group", &request.group), ("version", &request.group_version), ("key", &request.key)]
}

fn value<'a>(request: &'a SecretRequest, name: &str) -> &'a str {
    values(request).into_iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

/// Replaces each placeholder once, from left to right. Placeholders in values are not replaced.
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
    fn a_value_must_not_contain_a_dot_segment() {
        const URL: &str = "https://a.example/v1/{group}/{key}";
        for group in [".", "..", "../other", "team/..", "team/../x", "team/./x", r"..\other", r"team\..", r"a/..\b"] {
            assert_eq!(
                fill(URL, group, "k"),
                Err(format!("group {group:?} must not contain the path segments `.` and `..` [{group}/k]"))
            );
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
    fn a_value_in_the_path_must_not_be_empty() {
        for (url, filled) in [
            ("https://a.example/v1/{group}/{key}", Err("group must be set [/k]")),
            ("https://a.example/v1/x-{group}/{key}", Err("group must be set [/k]")),
            ("https://a.example/v1/{version}/{key}", Err("version must be set [/k]")),
            ("https://a.example/{key}?group={group}&version={version}", Ok("https://a.example/k?group=&version=")),
            ("https://a.example?key={key}&path=/{group}", Ok("https://a.example?key=k&path=/")),
            ("https://a.example/{key}#{group}", Ok("https://a.example/k#")),
        ] {
            assert_eq!(fill(url, "", "k"), filled.map(str::to_owned).map_err(str::to_owned), "{url}");
        }
    }
}
