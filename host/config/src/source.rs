//! [`ComponentSource`]: the source of a component; and [`OciReference`] for a component in a
//! registry.
//!
//! The text is parsed only. The rules for references are those of OCI's distribution specification.

use std::{fmt, path::PathBuf, str::FromStr};

use ampoule_core::EditPermissions;

/// The forms of a source.
const KNOWN: &str = "use builtin:NAME, file:PATH, configmap:NAME/KEY or oci:REGISTRY/REPOSITORY:TAG";
/// Maximum length of registry and repository that every registry accepts (OCI distribution,
/// "Pull").
const LONGEST_REPOSITORY: usize = 255;
/// Maximum length of a tag (OCI distribution, "Pull").
const LONGEST_TAG: usize = 128;
/// Maximum length of the name of a ConfigMap, and of its keys.
const LONGEST_NAME: usize = 253;

/// The source of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComponentSource {
    /// A plugin of this name that is built into the program.
    Builtin(String),
    /// A file.
    File(PathBuf),
    /// A ConfigMap in the namespace of the process.
    ConfigMap {
        /// The name of the ConfigMap.
        name: String,
        /// The key in its `binaryData` or `data`.
        key: String,
    },
    /// A registry.
    Oci(OciReference),
}

/// A component in a registry: `REGISTRY/REPOSITORY:TAG`, `REGISTRY/REPOSITORY@sha256:…`, or both;
/// the digest wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

// === impl ComponentSource ===

impl ComponentSource {
    /// What a plugin from this source may change in a pod unless its `edits` say otherwise.
    #[must_use]
    pub fn default_edits(&self, mount_directory: &str) -> EditPermissions {
        match self {
            Self::Builtin(_) => EditPermissions::builtin(),
            Self::File(_) | Self::ConfigMap { .. } | Self::Oci(_) => EditPermissions::ordinary(mount_directory),
        }
    }

    /// Parses a source.
    ///
    /// # Errors
    ///
    /// The error describes the valid forms.
    pub fn parse(text: &str, builtins: &[&str]) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("builtin", name)) if builtins.contains(&name) => Ok(Self::Builtin(name.to_owned())),
            Some(("builtin", name)) => {
                let known = if builtins.is_empty() { "none".to_owned() } else { builtins.join(", ") };
                Err(format!("{name:?} is not a built-in plugin of this program (built-in plugins: {known})"))
            }
            Some(("file", "")) => Err("file: requires a path after the colon".to_owned()),
            Some(("file", path)) => Ok(Self::File(PathBuf::from(path))),
            Some(("configmap", place)) => config_map(place),
            Some(("oci", reference)) => reference.parse().map(Self::Oci),
            _ if text.is_empty() => Err(format!("is missing; {KNOWN}")),
            _ => Err(format!("{text:?} is not a source of a component; {KNOWN}")),
        }
    }
}

impl fmt::Display for ComponentSource {
    /// Writes the source as in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::ConfigMap { name, key } => write!(f, "configmap:{name}/{key}"),
            Self::Oci(reference) => write!(f, "oci:{reference}"),
        }
    }
}

/// Checks both names by the rules of Kubernetes, except for details that the API server checks.
fn config_map(place: &str) -> Result<ComponentSource, String> {
    let wrong = || format!("{place:?} is not a ConfigMap with a key; use configmap:NAME/KEY");
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
    /// The registry as written, with its port. Credentials and `registries.insecure` refer to it.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The host that serves the registry's API, with its port.
    #[must_use]
    pub fn host(&self) -> &str {
        // Docker Hub serves its API under another name.
        if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry }
    }

    /// The repository, without the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` if the reference has only a digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest, `sha256:…`; `None` if the reference has only a tag.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The same reference with this digest.
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
        // A colon before the first slash belongs to the registry's port.
        let tag_at = name.rfind(':').filter(|colon| name.rfind('/').is_some_and(|slash| slash < *colon));
        let (name, tag) = tag_at.map_or((name, None), |colon| (&name[..colon], Some(&name[colon + 1..])));
        let (registry, repository) = name.split_once('/').unwrap_or_default();
        if !is_registry(registry) {
            return Err(format!(
                "{text:?} does not begin with a registry; use REGISTRY/REPOSITORY:TAG, such as ghcr.io/team/plugin:1.0"
            ));
        }
        if repository.len() + registry.len() >= LONGEST_REPOSITORY || !repository.split('/').all(is_path_component) {
            return Err(format!(
                "{repository:?} is not a valid repository name; use lowercase letters and digits, separated by `.`, `_`, `-` or `/`"
            ));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(format!("{tag:?} is not a tag; use 1 to {LONGEST_TAG} of letters, digits, . _ and -"));
        }
        if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
            return Err(format!("{digest:?} is not a digest; use sha256: and 64 of 0-9 and a-f"));
        }
        if tag.is_none() && digest.is_none() {
            return Err(format!("{text:?} has neither a tag nor a digest; append :TAG or @sha256:…"));
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

/// Whether the text is a host with a dot or a port, or `localhost`. The first part of a repository
/// name has neither.
#[must_use]
pub fn is_registry(text: &str) -> bool {
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

/// Whether the text is a digest of the supported algorithm, `sha256:…`.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_sha256)
}

/// Whether the text is a SHA-256 in hexadecimal.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether the text matches `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` (OCI distribution, "Pull").
fn is_path_component(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = text.split(word).filter(|separator| !separator.is_empty());
    let separated = separators
        .clone()
        .all(|separator| matches!(separator, "." | "_" | "__") || separator.chars().all(|c| c == '-'));
    text.starts_with(word) && text.ends_with(word) && separated
}

/// Whether the text matches `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` (OCI distribution, "Pull").
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
    fn parses_the_parts_of_a_reference() {
        let reference: OciReference = format!("docker.io/team/plugin:1@{DIGEST}").parse().unwrap();
        assert_eq!((reference.registry(), reference.host()), ("docker.io", "registry-1.docker.io"));
        assert_eq!((reference.repository(), reference.tag()), ("team/plugin", Some("1")));
        assert_eq!(reference.digest(), Some(DIGEST));
    }

    #[test]
    fn refuses_an_invalid_source_with_the_valid_forms() {
        refuses("", &format!("is missing; {KNOWN}"));
        refuses("/x.wasm", &format!("\"/x.wasm\" is not a source of a component; {KNOWN}"));
        refuses("https://x", &format!("\"https://x\" is not a source of a component; {KNOWN}"));
        refuses("builtin:x", "\"x\" is not a built-in plugin of this program (built-in plugins: k8s)");
        refuses("file:", "file: requires a path after the colon");
        for place in ["", "name", "name/", "/key", "a/b/c", "Name/key", "name/k y"] {
            let expected = format!("{place:?} is not a ConfigMap with a key; use configmap:NAME/KEY");
            refuses(&format!("configmap:{place}"), &expected);
        }
    }

    #[test]
    fn refuses_an_invalid_reference_with_the_valid_forms() {
        for text in ["", "plugin:1", "team/plugin:1", "ghcr.io:99999/a:1", "a b.io/a:1", ":5000/a:1", "[x]:1/a:1"] {
            let expected = format!(
                "{text:?} does not begin with a registry; use REGISTRY/REPOSITORY:TAG, such as ghcr.io/team/plugin:1.0"
            );
            refuses(&format!("oci:{text}"), &expected);
        }
        for repository in ["", "A", "a//b", "a/", "-a", "a-", "a___b", "a..b", "../a"] {
            let expected = format!(
                "{repository:?} is not a valid repository name; use lowercase letters and digits, separated by `.`, `_`, `-` or `/`"
            );
            refuses(&format!("oci:ghcr.io/{repository}:1"), &expected);
        }
        refuses("oci:ghcr.io/a:", "\"\" is not a tag; use 1 to 128 of letters, digits, . _ and -");
        refuses("oci:ghcr.io/a:-x", "\"-x\" is not a tag; use 1 to 128 of letters, digits, . _ and -");
        refuses("oci:ghcr.io/a@sha256:AB", "\"sha256:AB\" is not a digest; use sha256: and 64 of 0-9 and a-f");
        refuses("oci:ghcr.io/a@sha512:00", "\"sha512:00\" is not a digest; use sha256: and 64 of 0-9 and a-f");
        refuses("oci:ghcr.io/a", "\"ghcr.io/a\" has neither a tag nor a digest; append :TAG or @sha256:…");
    }
}
