//! Section `globalSecrets`: the webhook's own secrets.
//!
//! The injector of these secrets is called before every plugin.

use std::path::PathBuf;

use ampoule_core::Delivery;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ConfigError, delivery::DeliveryName};

/// The injector name of the webhook's own secrets. No injector of the configuration may have it.
pub const GLOBAL_INJECTOR: &str = "global";

/// The location of the webhook's own secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalSecretsConfig {
    /// Prefix of the environment variables that contain secrets. Never empty.
    pub env_prefix: String,
    /// The folder with a file `<group>/<key>` per secret; it need not exist.
    pub directory: PathBuf,
    /// How the values reach pods.
    pub delivery: Delivery,
}

/// The webhook's own secrets, which are available to every pod. They are consulted before all
/// injectors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct GlobalSecretsSection {
    /// Whether the webhook serves its own secrets. It then fetches values, which `server.clients`
    /// must allow.
    pub(crate) enabled: bool,
    /// Prefix of the environment variables of the webhook that contain secrets. Must not be empty.
    pub(crate) env_prefix: String,
    /// Absolute path of the folder with a file `<group>/<key>` per secret. It need not exist.
    pub(crate) directory: PathBuf,
    pub(crate) delivery: DeliveryName,
    /// Whether values may be text in the pod's specification. Required for `delivery: inline`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) accept_plaintext: bool,
}

// === impl GlobalSecretsSection ===

impl Default for GlobalSecretsSection {
    fn default() -> Self {
        Self {
            enabled: false,
            env_prefix: "FLYTE_SECRET_".to_owned(),
            directory: "/etc/secrets".into(),
            delivery: DeliveryName::default(),
            accept_plaintext: false,
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
        let delivery = self.delivery.check(self.accept_plaintext, "globalSecrets")?;
        if delivery == Delivery::Pod {
            let reason = "cannot be pod: the webhook reads global secrets from its own environment and files";
            return Err(ConfigError::at("globalSecrets.delivery", reason));
        }
        Ok(Some(GlobalSecretsConfig { env_prefix: self.env_prefix, directory: self.directory, delivery }))
    }
}

impl From<Option<&GlobalSecretsConfig>> for GlobalSecretsSection {
    fn from(config: Option<&GlobalSecretsConfig>) -> Self {
        match config.cloned() {
            Some(GlobalSecretsConfig { env_prefix, directory, delivery }) => Self {
                enabled: true,
                env_prefix,
                directory,
                delivery: delivery.into(),
                accept_plaintext: delivery == Delivery::Inline,
            },
            None => Self::default(),
        }
    }
}
