//! Metrics of pods with old values, and of the restarts of their workloads.
//!
//! They are those of the replica that searches; the other replicas report no pods.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::ResultLabel;

/// The values of pods, compared with those of the stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RotationPods {
    /// Pods with the values of the stores.
    pub current: usize,
    /// Pods with at least one other value.
    pub old: usize,
    /// Pods with a value that could not be fetched.
    pub unknown: usize,
}

/// What happened to a workload whose pods have old values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutResult {
    /// It is being restarted.
    Restarted,
    /// The webhook's role does not allow the restart.
    Denied,
    /// The API server did not restart it for another reason.
    Failed,
}

/// Metrics of pods with old values.
#[derive(Clone, Default)]
pub(super) struct RotationMetrics {
    pods: Family<StateLabel, Gauge>,
    searches: Family<ResultLabel, Counter>,
    rollouts: Family<ResultLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

// === impl RolloutResult ===

impl RolloutResult {
    const ALL: [Self; 3] = [Self::Restarted, Self::Denied, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Restarted => "restarted",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

// === impl RotationMetrics ===

impl RotationMetrics {
    /// Registers the metrics, with every value at zero.
    pub(super) fn register(&self, registry: &mut Registry) {
        self.set_pods(RotationPods::default());
        let help = "Pods with delivered values at the last search of this replica, by the state of their values";
        registry.register("rotation_pods", help, self.pods.clone());
        for succeeded in [true, false] {
            drop(self.searches.get_or_create_owned(&ResultLabel::of_search(succeeded)));
        }
        let help = "Searches of this replica for pods with old values, by result";
        registry.register("rotation_searches", help, self.searches.clone());
        for result in RolloutResult::ALL {
            drop(self.rollouts.get_or_create_owned(&ResultLabel { result: result.as_str() }));
        }
        let help = "Workloads that were to be restarted because their pods have old values, by result";
        registry.register("rotation_rollouts", help, self.rollouts.clone());
    }

    pub(super) fn set_pods(&self, pods: RotationPods) {
        for (state, count) in [("current", pods.current), ("old", pods.old), ("unknown", pods.unknown)] {
            self.pods.get_or_create_owned(&StateLabel { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn search_ended(&self, succeeded: bool) {
        self.searches.get_or_create_owned(&ResultLabel::of_search(succeeded)).inc();
    }

    pub(super) fn rolled_out(&self, result: RolloutResult) {
        self.rollouts.get_or_create_owned(&ResultLabel { result: result.as_str() }).inc();
    }
}
