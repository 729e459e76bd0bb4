//! Section `cache` of an injector: how long the webhook keeps the values that the plugin fetches.
//!
//! They are in memory only, so another replica and a restart fetch them again.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ConfigError, section::seconds};

/// How long the webhook keeps the values that the plugin fetches, in its memory. By default it
/// keeps none, and fetches each value for each pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ValueCacheConfig {
    /// Seconds for which a value is served without a fetch. The time that the plugin states for a
    /// value can be shorter. 0 turns the cache off.
    #[serde(rename = "ttlSeconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 0, max = 86_400))]
    pub ttl: Duration,
    /// Further seconds for which a value is served while the store is unavailable.
    #[serde(rename = "maxStaleSeconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 0, max = 86_400))]
    pub max_stale: Duration,
    /// Whether a request to the port `server.invalidation` clears the cache.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invalidation: bool,
}

// === impl ValueCacheConfig ===

impl ValueCacheConfig {
    /// Checks the section, which is the value of `key`.
    pub(crate) fn check(self, key: &str) -> Result<Self, ConfigError> {
        if self.invalidation && self.ttl.is_zero() {
            return Err(ConfigError::at(format!("{key}.invalidation"), "has no effect without ttlSeconds"));
        }
        Ok(self)
    }
}
