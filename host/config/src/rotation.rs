//! Section `rotation`: the search for pods with old values, and the restart of their workloads.
//!
//! Both are off by default: the search causes requests to stores, and the restart needs rights on
//! workloads.

use std::time::Duration;

use ampoule_core::Delivery;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Config, ConfigError, InjectorConfig,
    section::{seconds, section},
};

/// The search for pods whose values changed in the store since, and the restart of their workloads.
/// With `delivery: secret`, the webhook fetches the values again. With `delivery: pod`, it cannot
/// read the store: a sidecar of the pod does, and `delivery.pod.refreshSeconds` is required.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("x-takes-effect" = "restart"))]
pub struct RotationConfig {
    /// Interval of the search, in seconds. One replica searches. Each search fetches every value
    /// that a running pod got once, so it causes requests to the stores. 0 turns it off.
    #[serde(rename = "intervalSeconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 0, max = 604_800))]
    pub interval: Duration,
    /// The restart of workloads whose pods have old values.
    #[serde(deserialize_with = "section")]
    pub rollout: RolloutConfig,
}

/// The restart of workloads whose pods have old values, as `kubectl rollout restart` does it: of
/// Deployments, StatefulSets and DaemonSets that no other object controls. The webhook's role must
/// allow `get` and `patch` on them, and `get` on ReplicaSets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RolloutConfig {
    /// Whether workloads are restarted. Requires `rotation.intervalSeconds`.
    pub enabled: bool,
    /// Age of a pod before its workload is restarted, in seconds.
    #[serde(rename = "minPodAgeSeconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 0, max = 604_800))]
    pub min_pod_age: Duration,
    /// Maximum number of restarted workloads per search. The next search restarts others.
    #[schemars(range(min = 1, max = 1000))]
    pub workloads_per_interval: usize,
}

// === impl RotationConfig ===

impl RotationConfig {
    pub(crate) fn check(self) -> Result<Self, ConfigError> {
        if self.rollout.enabled && self.interval.is_zero() {
            return Err(ConfigError::at("rotation.rollout.enabled", "has no effect without rotation.intervalSeconds"));
        }
        Ok(self)
    }
}

// === impl Config ===

impl Config {
    /// Whether the process restarts workloads.
    ///
    /// The chart grants the rights under the same condition (`ampoule.restartsWorkloads`).
    #[must_use]
    pub fn restarts_workloads(&self) -> bool {
        self.rotation.rollout.enabled && (self.delivers_secrets() || self.pods_report_changes())
    }

    /// Whether a sidecar of each pod that fetches variables reports their changes, and the process
    /// searches for these reports.
    ///
    /// The chart grants the rights under the same condition (`ampoule.readsReports`).
    #[must_use]
    pub fn pods_report_changes(&self) -> bool {
        let fetches = self.config_maps || self.injectors.iter().any(InjectorConfig::fetches_in_pods);
        let is_on = !self.rotation.interval.is_zero() && self.delivery.pod.refresh_seconds.is_some();
        self.server.clients.allow_values() && is_on && fetches
    }

    /// A warning about injectors whose values the search does not cover. `None` without the search.
    #[must_use]
    pub fn rotation_warning(&self) -> Option<String> {
        if self.rotation.interval.is_zero() || self.delivery.pod.refresh_seconds.is_some() {
            return None;
        }
        let in_pods = self.injectors.iter().filter(|injector| injector.fetches_in_pods());
        let names: Vec<_> = in_pods.map(|injector| injector.name.as_str()).collect();
        (!names.is_empty()).then(|| {
            format!(
                "rotation does not cover the values of {}, because only the pods can read the store (delivery: pod); set \
                 delivery.pod.refreshSeconds, so that a sidecar of the pods reads it again",
                names.join(", ")
            )
        })
    }
}

// === impl InjectorConfig ===

impl InjectorConfig {
    fn fetches_in_pods(&self) -> bool {
        self.delivery == Delivery::Pod
    }
}

// === impl RolloutConfig ===

impl Default for RolloutConfig {
    fn default() -> Self {
        Self { enabled: false, min_pod_age: Duration::from_secs(3600), workloads_per_interval: 5 }
    }
}
