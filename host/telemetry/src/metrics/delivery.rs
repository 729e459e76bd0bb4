//! Metrics of the Secrets that carry values to pods.
//!
//! The results are an enum; no label contains the name of a Secret or a namespace.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

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
    written: Family<WriteLabel, Counter>,
    existing: Gauge,
    swept: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabel {
    result: &'static str,
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

// === impl DeliveryMetrics ===

impl DeliveryMetrics {
    /// Registers the metrics, with every counter at zero.
    pub(super) fn register(&self, registry: &mut Registry) {
        for result in DeliveryResult::ALL {
            drop(self.written.get_or_create_owned(&WriteLabel { result: result.as_str() }));
        }
        let help = "Secrets with values that were to be written, by result";
        registry.register("delivery_writes", help, self.written.clone());
        let help = "Secrets with values at the last search of this replica for unused ones";
        registry.register("delivery_secrets", help, self.existing.clone());
        registry.register("delivery_swept", "Deleted Secrets that no pod referred to", self.swept.clone());
    }

    pub(super) fn written(&self, result: DeliveryResult) {
        self.written.get_or_create_owned(&WriteLabel { result: result.as_str() }).inc();
    }

    pub(super) fn set_existing(&self, secrets: usize) {
        self.existing.set(i64::try_from(secrets).unwrap_or(i64::MAX));
    }

    pub(super) fn swept(&self, secrets: usize) {
        self.swept.inc_by(secrets as u64);
    }
}
