//! Section `pods`: limits of the pods that get secrets.
//!
//! A change takes effect with the next reload.

use ampoule_core::PodLimits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limits of the pods that get secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodsConfig {
    /// Maximum number of containers of a pod with secrets, with its init containers. A pod with
    /// more is refused. Every secret can reach every container.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_containers: usize,
    /// Whether to warn about a Kubernetes Secret that a pod refers to and that does not exist. The
    /// process looks up the metadata of at most 16 Secrets of each such pod. The right `get` on
    /// Secrets, which it needs, permits to read their values.
    pub warn_missing_secrets: bool,
}

// === impl PodsConfig ===

impl PodsConfig {
    /// Returns the limits of a pod. Only some of them can be configured.
    #[must_use]
    pub fn limits(self) -> PodLimits {
        PodLimits { containers: self.max_containers, ..PodLimits::default() }
    }
}

impl Default for PodsConfig {
    fn default() -> Self {
        Self { max_containers: PodLimits::default().containers, warn_missing_secrets: false }
    }
}
