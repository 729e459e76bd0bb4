//! Section `trust`: the keys that sign components.
//!
//! Injectors name these keys in `signedBy`.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ComponentSource, ConfigError, names::check_name, public_key::PublicKey, section::section};

/// The keys that sign components.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrustConfig {
    /// Whether every component that is not built in must be signed by one of the keys.
    pub require_signature: bool,
    /// The keys; their names are unique.
    pub keys: Vec<TrustedKey>,
}

/// A key and its name.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustedKey {
    /// The name in `injectors[].signedBy`, messages and metrics.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// Signatures of components.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct TrustSection {
    /// Whether every component that is not built in must be signed by one of the keys.
    require_signature: bool,
    /// The keys.
    #[serde(deserialize_with = "section")]
    keys: Vec<TrustedKeyEntry>,
}

/// A key that signs components.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct TrustedKeyEntry {
    /// Unique name of the key for `injectors[].signedBy`, messages and metrics: 1 to 63 of a-z, 0-9
    /// and -. Required.
    name: String,
    /// The key: an ECDSA P-256 key in PEM form (cosign, openssl) or a minisign key. Required.
    public_key: String,
}

// === impl TrustConfig ===

impl TrustConfig {
    /// The key of this name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&TrustedKey> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Checks whether a component from this source can have a signature by this key.
    pub(crate) fn check_signer(&self, name: &str, component: &ComponentSource) -> Result<(), String> {
        let Some(trusted) = self.key(name) else {
            let names: Vec<_> = self.keys.iter().map(|key| key.name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(format!("{name:?} is not a key of trust.keys (keys: {names})"));
        };
        match component {
            ComponentSource::Builtin(_) => {
                Err("is not allowed for a built-in plugin, which has no signature".to_owned())
            }
            ComponentSource::Oci(_) if !trusted.key.is_p256() => {
                Err(format!("{name:?} is a minisign key; a component in a registry requires a cosign key"))
            }
            _ => Ok(()),
        }
    }
}

// === impl TrustSection ===

impl TrustSection {
    pub(crate) fn check(self) -> Result<TrustConfig, ConfigError> {
        let mut names = HashSet::new();
        let mut keys = Vec::new();
        for (i, entry) in self.keys.into_iter().enumerate() {
            let at = |part: &str| format!("trust.keys[{i}].{part}");
            check_name(&at("name"), &entry.name)?;
            if !names.insert(entry.name.clone()) {
                let reason = format!("{:?} is already the name of an earlier key", entry.name);
                return Err(ConfigError::at(at("name"), reason));
            }
            let key = entry.public_key.parse().map_err(|reason: String| ConfigError::at(at("publicKey"), reason))?;
            keys.push(TrustedKey { name: entry.name, key });
        }
        Ok(TrustConfig { require_signature: self.require_signature, keys })
    }
}

impl From<&TrustConfig> for TrustSection {
    fn from(config: &TrustConfig) -> Self {
        let entry = |key: &TrustedKey| TrustedKeyEntry { name: key.name.clone(), public_key: key.key.to_string() };
        Self { require_signature: config.require_signature, keys: config.keys.iter().map(entry).collect() }
    }
}
