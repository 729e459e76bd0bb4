//! Section `globalSecrets`: the webhook's own secrets.
//!
//! The injector of these secrets is called before every plugin.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// The injector name of the webhook's own secrets. No injector of the configuration may have it.
pub const GLOBAL_INJECTOR: &str = "global";

/// The location of the webhook's own secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalSecretsConfig {
    /// Prefix of the environment variables that contain secrets. Never empty.
    pub env_prefix: String,
    /// The folder with a file `<group>/<key>` per secret; it need not exist.
    pub directory: PathBuf,
}

/// The webhook's own secrets, which are available to every pod. They are consulted before all
/// injectors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct GlobalSecretsSection {
    /// Whether the webhook serves its own secrets. An answer then contains their values, which
    /// `server.clients` must allow.
    pub(crate) enabled: bool,
    /// Prefix of the environment variables of the webhook that contain secrets. Must not be empty.
    pub(crate) env_prefix: String,
    /// Absolute path of the folder with a file `<group>/<key>` per secret. It need not exist.
    pub(crate) directory: PathBuf,
    /// How a value reaches the pod.
    pub(crate) delivery: DeliveryName,
}

/// The way in which a value reaches the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DeliveryName {
    /// As a plain value in the pod's spec.
    #[default]
    Value,
    /// Through a Secret of the pod. This version does not support it.
    Secret,
}

// === impl GlobalSecretsSection ===

impl Default for GlobalSecretsSection {
    fn default() -> Self {
        Self {
            enabled: false,
            env_prefix: "FLYTE_SECRET_".to_owned(),
            directory: "/etc/secrets".into(),
            delivery: DeliveryName::default(),
        }
    }
}

impl GlobalSecretsSection {
    /// Checks the section; `None` if it is disabled.
    pub(crate) fn check(self) -> Result<Option<GlobalSecretsConfig>, ConfigError> {
        if !self.enabled {
            return Ok(None);
        }
        if self.env_prefix.is_empty() {
            let reason = "must not be empty: pods could request every environment variable of the webhook";
            return Err(ConfigError::at("globalSecrets.envPrefix", reason));
        }
        if !self.directory.is_absolute() {
            let reason = format!("{:?} is not an absolute path", self.directory.display());
            return Err(ConfigError::at("globalSecrets.directory", reason));
        }
        if self.delivery == DeliveryName::Secret {
            let reason = "secret is not supported by this version; use value";
            return Err(ConfigError::at("globalSecrets.delivery", reason));
        }
        Ok(Some(GlobalSecretsConfig { env_prefix: self.env_prefix, directory: self.directory }))
    }
}

impl From<Option<&GlobalSecretsConfig>> for GlobalSecretsSection {
    fn from(config: Option<&GlobalSecretsConfig>) -> Self {
        match config.cloned() {
            Some(GlobalSecretsConfig { env_prefix, directory }) => {
                Self { enabled: true, env_prefix, directory, ..Self::default() }
            }
            None => Self::default(),
        }
    }
}
