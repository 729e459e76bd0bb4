//! Where a component is, as the configuration writes it: [`ComponentSource`], and [`OciReference`] for one in a registry.
//!
//! Nothing is looked for here; a reference is checked as the registries' own specification has it.

use std::{fmt, path::PathBuf, str::FromStr};

/// What can be written.
const KNOWN: &str = "use builtin:NAME, file:PATH, configmap:NAME/KEY or oci:REGISTRY/REPOSITORY:TAG";
/// The most that a registry has to take for a repository's name with the registry in front (OCI distribution, "Pull").
const LONGEST_REPOSITORY: usize = 255;
/// The same of a tag.
const LONGEST_TAG: usize = 128;
/// The longest name of a ConfigMap or of a key in one.
const LONGEST_NAME: usize = 253;

/// Where a component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComponentSource {
    /// In this program, under this name.
    Builtin(String),
    /// In a file.
    File(PathBuf),
    /// In a ConfigMap of the process' own namespace.
    ConfigMap {
        /// The ConfigMap's name.
        name: String,
        /// The key in its `binaryData` or `data`.
        key: String,
    },
    /// In a registry.
    Oci(OciReference),
}

/// A component in a registry: `REGISTRY/REPOSITORY:TAG`, `REGISTRY/REPOSITORY@sha256:…`, or with both, where the digest counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

// === impl ComponentSource ===

impl ComponentSource {
    /// Reads what the configuration writes. The error says what would be right.
    pub fn parse(text: &str, builtins: &[&str]) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("builtin", name)) if builtins.contains(&name) => Ok(Self::Builtin(name.to_owned())),
            Some(("builtin", name)) => {
                let there = if builtins.is_empty() { "none".to_owned() } else { builtins.join(", ") };
                Err(format!("{name:?} is no built-in plugin of this program (there: {there})"))
            }
            Some(("file", "")) => Err("file: wants a path after the colon".to_owned()),
            Some(("file", path)) => Ok(Self::File(PathBuf::from(path))),
            Some(("configmap", place)) => config_map(place),
            Some(("oci", reference)) => reference.parse().map(Self::Oci),
            _ if text.is_empty() => Err(format!("is missing; {KNOWN}")),
            _ => Err(format!("{text:?} is no place of a component; {KNOWN}")),
        }
    }
}

impl fmt::Display for ComponentSource {
    /// As the configuration writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::ConfigMap { name, key } => write!(f, "configmap:{name}/{key}"),
            Self::Oci(reference) => write!(f, "oci:{reference}"),
        }
    }
}

/// Kubernetes' own rules for both names, but for their finer points, which its answer tells.
fn config_map(place: &str) -> Result<ComponentSource, String> {
    let wrong = || format!("{place:?} is no ConfigMap with a key; use configmap:NAME/KEY");
    let (name, key) = place.split_once('/').ok_or_else(wrong)?;
    let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let in_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = |text: &str, allowed: &dyn Fn(char) -> bool| {
        (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(allowed)
    };
    if !good(name, &in_name) || !good(key, &in_key) {
        return Err(wrong());
    }
    Ok(ComponentSource::ConfigMap { name: name.to_owned(), key: key.to_owned() })
}

// === impl OciReference ===

impl OciReference {
    /// The registry as it is written, with its port: what credentials and `registries.insecure` go by.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The host that serves the registry's API, with its port.
    #[must_use]
    pub fn host(&self) -> &str {
        // Docker Hub's address has never been its name.
        if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry }
    }

    /// The repository, without the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; none if only a digest is given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest, `sha256:…`; none if only a tag is given.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The same repository, at this digest.
    #[must_use]
    pub fn at(&self, digest: &str) -> Self {
        Self { digest: Some(digest.to_owned()), ..self.clone() }
    }
}

impl FromStr for OciReference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        // The registry's own port stands before the first slash.
        let tag_at = name.rfind(':').filter(|colon| name.rfind('/').is_some_and(|slash| slash < *colon));
        let (name, tag) = tag_at.map_or((name, None), |colon| (&name[..colon], Some(&name[colon + 1..])));
        let (registry, repository) = name.split_once('/').unwrap_or_default();
        if !is_registry(registry) {
            return Err(format!(
                "{text:?} does not begin with a registry; use REGISTRY/REPOSITORY:TAG, such as ghcr.io/team/plugin:1.0"
            ));
        }
        if repository.len() + registry.len() >= LONGEST_REPOSITORY || !repository.split('/').all(is_path_component) {
            return Err(format!("{repository:?} is no repository's name; use a-z, 0-9, and . _ - / between them"));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(format!("{tag:?} is no tag; use 1 to {LONGEST_TAG} of letters, digits, . _ and -"));
        }
        if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
            return Err(format!("{digest:?} is no digest; use sha256: and 64 of 0-9 and a-f"));
        }
        if tag.is_none() && digest.is_none() {
            return Err(format!("{text:?} names neither a tag nor a digest; append :TAG or @sha256:…"));
        }
        let owned = |part: Option<&str>| part.map(ToOwned::to_owned);
        let (registry, repository) = (registry.to_owned(), repository.to_owned());
        Ok(Self { registry, repository, tag: owned(tag), digest: owned(digest) })
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, repository, tag, digest } = self;
        write!(f, "{registry}/{repository}")?;
        if let Some(tag) = tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// A host with a dot or a port, or `localhost`: what tells a registry from the first part of a repository's name.
pub(super) fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let named = host.contains('.') || port.is_some() || host == "localhost";
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let good_host = address.map_or_else(
        || !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')),
        |address| address.parse::<std::net::Ipv6Addr>().is_ok(),
    );
    named && good_host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Whether this is the digest that this program can compare.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_sha256)
}

/// Whether this is a SHA-256 in hexadecimal.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, of OCI's distribution specification.
fn is_path_component(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = text.split(word).filter(|separator| !separator.is_empty());
    let separated = separators
        .clone()
        .all(|separator| matches!(separator, "." | "_" | "__") || separator.chars().all(|c| c == '-'));
    text.starts_with(word) && text.ends_with(word) && separated
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`, of the same.
fn is_tag(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= LONGEST_TAG && text.starts_with(first) && text.chars().all(|c| first(c) || matches!(c, '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b";

    #[track_caller]
    fn refuses(text: &str, expected: &str) {
        assert_eq!(ComponentSource::parse(text, &["k8s"]).unwrap_err(), expected, "{text}");
    }

    #[test]
    fn reads_and_writes_every_kind_of_source() {
        for text in [
            "builtin:k8s",
            "file:/plugins/x.wasm",
            "configmap:my.plugins/x_1.wasm",
            "oci:ghcr.io/team/plugin:1.0",
            "oci:localhost/plugin:latest",
            "oci:localhost:5000/a/b__c/d-e.f:_x",
            "oci:[::1]:5000/a:1",
        ] {
            assert_eq!(ComponentSource::parse(text, &["k8s"]).unwrap().to_string(), text);
        }
        for text in [format!("oci:ghcr.io/a@{DIGEST}"), format!("oci:ghcr.io/a:1@{DIGEST}")] {
            assert_eq!(ComponentSource::parse(&text, &[]).unwrap().to_string(), text);
        }
    }

    #[test]
    fn knows_the_parts_of_a_reference() {
        let reference: OciReference = format!("docker.io/team/plugin:1@{DIGEST}").parse().unwrap();
        assert_eq!((reference.registry(), reference.host()), ("docker.io", "registry-1.docker.io"));
        assert_eq!((reference.repository(), reference.tag()), ("team/plugin", Some("1")));
        assert_eq!(reference.digest(), Some(DIGEST));
    }

    #[test]
    fn a_wrong_source_is_refused_with_what_would_be_right() {
        refuses("", &format!("is missing; {KNOWN}"));
        refuses("/x.wasm", &format!("\"/x.wasm\" is no place of a component; {KNOWN}"));
        refuses("https://x", &format!("\"https://x\" is no place of a component; {KNOWN}"));
        refuses("builtin:x", "\"x\" is no built-in plugin of this program (there: k8s)");
        refuses("file:", "file: wants a path after the colon");
        for place in ["", "name", "name/", "/key", "a/b/c", "Name/key", "name/k y"] {
            let expected = format!("{place:?} is no ConfigMap with a key; use configmap:NAME/KEY");
            refuses(&format!("configmap:{place}"), &expected);
        }
    }

    #[test]
    fn a_wrong_reference_is_refused_with_what_would_be_right() {
        for text in ["", "plugin:1", "team/plugin:1", "ghcr.io:99999/a:1", "a b.io/a:1", ":5000/a:1", "[x]:1/a:1"] {
            let expected = format!(
                "{text:?} does not begin with a registry; use REGISTRY/REPOSITORY:TAG, such as ghcr.io/team/plugin:1.0"
            );
            refuses(&format!("oci:{text}"), &expected);
        }
        for repository in ["", "A", "a//b", "a/", "-a", "a-", "a___b", "a..b", "../a"] {
            let expected = format!("{repository:?} is no repository's name; use a-z, 0-9, and . _ - / between them");
            refuses(&format!("oci:ghcr.io/{repository}:1"), &expected);
        }
        refuses("oci:ghcr.io/a:", "\"\" is no tag; use 1 to 128 of letters, digits, . _ and -");
        refuses("oci:ghcr.io/a:-x", "\"-x\" is no tag; use 1 to 128 of letters, digits, . _ and -");
        refuses("oci:ghcr.io/a@sha256:AB", "\"sha256:AB\" is no digest; use sha256: and 64 of 0-9 and a-f");
        refuses("oci:ghcr.io/a@sha512:00", "\"sha512:00\" is no digest; use sha256: and 64 of 0-9 and a-f");
        refuses("oci:ghcr.io/a", "\"ghcr.io/a\" names neither a tag nor a digest; append :TAG or @sha256:…");
    }
}
