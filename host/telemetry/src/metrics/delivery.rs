//! Metrics of the Secrets that carry values to pods, and of values that are forgotten.
//!
//! The results are an enum; no label contains the name of a Secret or a namespace.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::ResultLabel;

/// What happened when a Secret was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    /// It is new.
    Created,
    /// It existed.
    Reused,
    /// The webhook's role does not allow it.
    Denied,
    /// The API server refused the Secret for another reason.
    Refused,
    /// The API server did not answer.
    Unavailable,
}

/// Metrics of the Secrets that carry values.
#[derive(Clone, Default)]
pub(super) struct DeliveryMetrics {
    written: Family<ResultLabel, Counter>,
    existing: Gauge,
    swept: Counter,
    sweeps: Family<ResultLabel, Counter>,
    invalidations: Family<ResultLabel, Counter>,
}

/// What happened to a request that reports a changed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidationResult {
    /// The caches were cleared.
    Done,
    /// The request was not valid.
    Invalid,
    /// There were too many requests.
    Limited,
}

// === impl DeliveryResult ===

impl DeliveryResult {
    const ALL: [Self; 5] = [Self::Created, Self::Reused, Self::Denied, Self::Refused, Self::Unavailable];

    fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Reused => "reused",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

// === impl InvalidationResult ===

impl InvalidationResult {
    const ALL: [Self; 3] = [Self::Done, Self::Invalid, Self::Limited];

    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Invalid => "invalid",
            Self::Limited => "limited",
        }
    }
}

// === impl DeliveryMetrics ===

impl DeliveryMetrics {
    /// Registers the metrics, with every counter at zero.
    pub(super) fn register(&self, registry: &mut Registry) {
        for result in DeliveryResult::ALL {
            drop(self.written.get_or_create_owned(&ResultLabel { result: result.as_str() }));
        }
        let help = "Secrets with values that were to be written, by result";
        registry.register("delivery_writes", help, self.written.clone());
        let help = "Secrets with values at the last search of this replica for unused ones";
        registry.register("delivery_secrets", help, self.existing.clone());
        registry.register("delivery_swept", "Deleted Secrets that no pod referred to", self.swept.clone());
        for succeeded in [true, false] {
            drop(self.sweeps.get_or_create_owned(&ResultLabel::of_search(succeeded)));
        }
        let help = "Searches of this replica for unused Secrets with values, by result";
        registry.register("delivery_sweeps", help, self.sweeps.clone());
        for result in InvalidationResult::ALL {
            drop(self.invalidations.get_or_create_owned(&ResultLabel { result: result.as_str() }));
        }
        let help = "Requests to forget values that the webhook keeps, by result";
        registry.register("value_invalidations", help, self.invalidations.clone());
    }

    pub(super) fn written(&self, result: DeliveryResult) {
        self.written.get_or_create_owned(&ResultLabel { result: result.as_str() }).inc();
    }

    pub(super) fn set_existing(&self, secrets: usize) {
        self.existing.set(i64::try_from(secrets).unwrap_or(i64::MAX));
    }

    pub(super) fn sweep_ended(&self, succeeded: bool) {
        self.sweeps.get_or_create_owned(&ResultLabel::of_search(succeeded)).inc();
    }

    pub(super) fn invalidated(&self, result: InvalidationResult) {
        self.invalidations.get_or_create_owned(&ResultLabel { result: result.as_str() }).inc();
    }

    pub(super) fn swept(&self, secrets: usize) {
        self.swept.inc_by(secrets as u64);
    }
}
