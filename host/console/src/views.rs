//! The JSON of the answers. The OpenAPI document describes it from the same types.
//!
//! Texts of pods are data; the console shows them as text only.

use std::collections::BTreeMap;

use ampoule_telemetry::decisions::{NumberedDecision, NumberedDifferences};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// The caller, and what the console may show to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallerView {
    /// The name of the user; absent if the API server does not name it (Kubernetes 1.28).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<String>,
    /// The groups of the user.
    pub(crate) groups: Vec<String>,
    /// Whether the caller may read about the process: overview, plugins, configuration and policy.
    pub(crate) reads_process: bool,
    /// Whether the caller may read the decisions of all namespaces.
    pub(crate) reads_all_decisions: bool,
}

/// The state of the process.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverviewView {
    /// The version of the webhook.
    pub version: String,
    /// Whether the replica is ready.
    pub ready: bool,
    /// The lines of the readiness page.
    pub readiness: Vec<String>,
    /// The time since the start in seconds.
    pub uptime_seconds: u64,
    /// The number of answered reviews since the start, for each outcome.
    pub admissions: Vec<OutcomeCount>,
    /// The latency of the last decisions.
    pub latency: LatencyView,
    /// What an operator should look at.
    pub attention: Vec<String>,
}

/// The number of reviews with an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeCount {
    /// The outcome, as in the metric `ampoule_admissions_total`.
    pub outcome: String,
    /// The number of reviews.
    pub count: u64,
}

/// Percentiles of the last decisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatencyView {
    /// The number of decisions.
    pub decisions: usize,
    /// The median in microseconds.
    pub median_micros: u64,
    /// The 99th percentile in microseconds.
    pub p99_micros: u64,
}

/// A plugin.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginView {
    /// The injector's name.
    pub name: String,
    /// The state: `loaded`, `serving-previous`, `failed`, `loading` or `ignored`.
    pub state: String,
    /// Whether a ConfigMap defines the plugin.
    pub config_map: bool,
    /// Whether the pipeline requires the plugin.
    pub required: bool,
    /// The number of plugins that have served under this name since the process started.
    pub generation: u64,
    /// The source of the component.
    pub source: String,
    /// The version that the serving plugin reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// SHA-256 of the serving component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The key that verified the signature of the serving component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// What its operator should know: an error, or a warning.
    pub notes: Vec<String>,
    /// The entry of the serving plugin in the configuration: grants, limits, permitted edits and
    /// delivery. Settings have only their keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<Value>,
    /// Its figures since it was configured.
    pub figures: PluginFiguresView,
}

/// The figures of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginFiguresView {
    /// The calls for each outcome that occurred.
    pub calls: Vec<CallFigures>,
    /// The seconds in the plugin's own code.
    pub guest_seconds: f64,
    /// The maximum linear memory of an instance, in bytes.
    pub memory_bytes: i64,
}

/// The calls of a plugin with one outcome.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallFigures {
    /// The outcome.
    pub outcome: String,
    /// The number of calls.
    pub count: u64,
    /// The mean duration in microseconds.
    pub mean_micros: u64,
}

/// The policy and the shadow injectors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyView {
    /// The rules in their order.
    pub rules: Vec<RuleView>,
    /// The shadow injectors.
    pub shadow_injectors: Vec<ShadowView>,
}

/// A policy rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleView {
    /// The name.
    pub name: String,
    /// The condition in CEL.
    pub when: String,
    /// The effect of a match.
    pub action: String,
    /// The text for the pod's author.
    pub message: String,
    /// Whether the rule is only evaluated and counted.
    pub shadow: bool,
    /// The number of evaluations that matched.
    pub matches: u64,
    /// The number of evaluations that failed.
    pub errors: u64,
}

/// A shadow injector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowView {
    /// The name.
    pub injector: String,
    /// The number of comparisons for each result.
    pub results: BTreeMap<String, u64>,
}

/// A page of decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DecisionsView {
    /// The decisions, the oldest first.
    pub(crate) decisions: Vec<NumberedDecision>,
    /// The number to ask for later decisions with (`after`).
    pub(crate) last: u64,
}

/// A page of differences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DifferencesView {
    /// The differences of pods, the oldest first.
    pub(crate) differences: Vec<NumberedDifferences>,
    /// The number to ask for later differences with (`after`).
    pub(crate) last: u64,
}

// === impl LatencyView ===

impl LatencyView {
    /// The percentiles of these durations in microseconds.
    #[must_use]
    pub fn of(mut micros: Vec<u64>) -> Self {
        micros.sort_unstable();
        let percentile = |part: usize| {
            let position = (micros.len() * part).div_ceil(100).saturating_sub(1);
            micros.get(position).copied().unwrap_or_default()
        };
        Self { decisions: micros.len(), median_micros: percentile(50), p99_micros: percentile(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        for (micros, expected) in [
            (vec![], (0, 0, 0)),
            (vec![7], (1, 7, 7)),
            (vec![3, 1, 2], (3, 2, 3)),
            ((1..=100).rev().collect(), (100, 50, 99)),
            ((1..=200).collect(), (200, 100, 198)),
        ] {
            let LatencyView { decisions, median_micros, p99_micros } = LatencyView::of(micros.clone());
            assert_eq!((decisions, median_micros, p99_micros), expected, "{micros:?}");
        }
    }
}
