//! Sections `trust` and `registries`: whose signatures count, and how registries are reached.
//!
//! Each is checked here, and said again for what is in effect.

use std::{collections::HashSet, path::PathBuf, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{ComponentSource, ConfigError, check::within, source::is_registry};
use crate::public_key::PublicKey;

/// One request a minute for each tag is nothing to a registry.
const REFRESH: Duration = Duration::from_secs(60);
/// A day: who wants no changes names a digest.
const LONGEST_REFRESH: u64 = 24 * 60 * 60;
/// A key's name stands in every message and metric.
const LONGEST_NAME: usize = 63;

/// Whose signatures count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrustConfig {
    /// Whether nothing is loaded that none of the keys has signed, but for the plugins of this program.
    pub require_signature: bool,
    /// The keys, by names that are each there once.
    pub keys: Vec<TrustedKey>,
}

/// A key and its name.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustedKey {
    /// Its name, for `injectors[].signedBy`, messages and metrics.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// How registries are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistriesConfig {
    /// The docker `config.json` with their users; none: the one in the folder `DOCKER_CONFIG`, if there is one.
    pub credentials_file: Option<PathBuf>,
    /// CA certificates beside the system's, in PEM form. The image has no system's: Mozilla's are in their place.
    pub ca_file: Option<PathBuf>,
    /// Hosts, with their ports, that are asked by plain HTTP.
    pub insecure: Vec<String>,
    /// Between two looks at what a tag names.
    pub refresh: Duration,
}

/// Section `trust`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TrustFile {
    /// Whether nothing is loaded that none of the keys has signed, but for the plugins of this program.
    pub require_signature: bool,
    /// Whose signatures count.
    pub keys: Vec<TrustedKeyFile>,
}

/// An entry of `trust.keys`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TrustedKeyFile {
    /// Its name.
    pub name: String,
    /// The key: PEM as cosign and openssl write it, or what minisign writes.
    pub public_key: String,
}

/// Section `registries`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RegistriesFile {
    /// A docker `config.json`.
    pub credentials_file: Option<PathBuf>,
    /// CA certificates beside the system's, in PEM form.
    pub ca_file: Option<PathBuf>,
    /// Hosts that are asked by plain HTTP.
    pub insecure: Vec<String>,
    /// Between two looks at what a tag names; left out, a minute.
    pub refresh_seconds: Option<u64>,
}

// === impl TrustConfig ===

impl TrustConfig {
    /// The key of this name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&TrustedKey> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Whether this key can have signed a component from there; if not, why not.
    pub(super) fn check_signer(&self, name: &str, component: &ComponentSource) -> Result<(), String> {
        let Some(TrustedKey { key, .. }) = self.key(name) else {
            let there: Vec<_> = self.keys.iter().map(|key| key.name.as_str()).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            return Err(format!("{name:?} is no key of trust.keys (there: {there})"));
        };
        match component {
            ComponentSource::Builtin(_) => Err("a built-in plugin is signed by nobody: it is this program".to_owned()),
            ComponentSource::Oci(_) if !key.is_p256() => {
                Err(format!("{name:?} is a key of minisign, and in a registry signatures are cosign's"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn effective(&self) -> Value {
        let Self { require_signature, keys } = self;
        let keys: Vec<_> =
            keys.iter().map(|TrustedKey { name, key }| json!({ "name": name, "publicKey": key.to_string() })).collect();
        json!({ "requireSignature": require_signature, "keys": keys })
    }
}

// === impl TrustFile ===

impl TrustFile {
    pub(super) fn check(self) -> Result<TrustConfig, ConfigError> {
        let Self { require_signature, keys: files } = self;
        let mut names = HashSet::new();
        let mut keys = Vec::new();
        for (i, TrustedKeyFile { name, public_key }) in files.into_iter().enumerate() {
            let at = |part: &str, reason: String| Err(ConfigError::at(format!("trust.keys[{i}].{part}"), reason));
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(allowed) {
                return at("name", format!("{name:?} is no name; use 1 to {LONGEST_NAME} of a-z, 0-9 and -"));
            }
            if !names.insert(name.clone()) {
                return at("name", format!("{name:?} is the name of an earlier key already"));
            }
            match public_key.parse() {
                Ok(key) => keys.push(TrustedKey { name, key }),
                Err(reason) => return at("publicKey", reason),
            }
        }
        Ok(TrustConfig { require_signature, keys })
    }
}

// === impl RegistriesConfig ===

impl Default for RegistriesConfig {
    fn default() -> Self {
        Self { credentials_file: None, ca_file: None, insecure: Vec::new(), refresh: REFRESH }
    }
}

impl RegistriesConfig {
    pub(super) fn effective(&self) -> Value {
        let Self { credentials_file, ca_file, insecure, refresh } = self;
        let mut document = json!({ "insecure": insecure, "refreshSeconds": refresh.as_secs() });
        for (key, path) in [("credentialsFile", credentials_file), ("caFile", ca_file)] {
            if let Some(path) = path {
                document[key] = json!(path);
            }
        }
        document
    }
}

// === impl RegistriesFile ===

impl RegistriesFile {
    pub(super) fn check(self) -> Result<RegistriesConfig, ConfigError> {
        let Self { credentials_file, ca_file, insecure, refresh_seconds } = self;
        let refresh = refresh_seconds.map(|seconds| within("registries.refreshSeconds", seconds, 1..=LONGEST_REFRESH));
        let refresh = refresh.transpose()?.map_or(REFRESH, Duration::from_secs);
        for (i, host) in insecure.iter().enumerate() {
            if !is_registry(host) {
                let reason = format!("{host:?} is no registry's host, such as localhost:5000");
                return Err(ConfigError::at(format!("registries.insecure[{i}]"), reason));
            }
        }
        Ok(RegistriesConfig { credentials_file, ca_file, insecure, refresh })
    }
}
