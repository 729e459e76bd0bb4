//! Section `registries`: access to OCI registries.
//!
//! Credentials and certificates are read from files.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    ConfigError,
    section::{seconds, section},
    source::is_registry,
};

/// Default of `registries.refreshSeconds`: a registry easily answers one request a minute per tag.
const REFRESH_SECONDS: u64 = 60;

/// Access to OCI registries.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RegistriesConfig {
    /// Docker's `config.json` with the credentials. Without it, the one in the folder of the
    /// environment variable `DOCKER_CONFIG`, if it exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// File with CA certificates in PEM form, in addition to the system's. The image contains
    /// Mozilla's certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Hosts, with their ports, that are called over plain HTTP.
    #[serde(deserialize_with = "section")]
    pub insecure: Vec<String>,
    /// Interval at which the digest of a tag is looked up.
    // At most a day. For a component that must not change, name a digest instead of a tag.
    #[serde(rename = "refreshSeconds", serialize_with = "seconds::serialize", deserialize_with = "refresh")]
    #[schemars(with = "u64", range(min = 1, max = 86_400))]
    pub refresh: Duration,
}

// === impl RegistriesConfig ===

impl Default for RegistriesConfig {
    fn default() -> Self {
        let refresh = Duration::from_secs(REFRESH_SECONDS);
        Self { credentials_file: None, ca_file: None, insecure: Vec::new(), refresh }
    }
}

impl RegistriesConfig {
    pub(crate) fn check(self) -> Result<Self, ConfigError> {
        for (i, host) in self.insecure.iter().enumerate() {
            if !is_registry(host) {
                let reason = format!("{host:?} is not the host of a registry, such as localhost:5000");
                return Err(ConfigError::at(format!("registries.insecure[{i}]"), reason));
            }
        }
        Ok(self)
    }
}

fn refresh<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = Option::deserialize(deserializer)?;
    Ok(Duration::from_secs(seconds.unwrap_or(REFRESH_SECONDS)))
}
