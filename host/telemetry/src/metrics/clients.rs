//! Refused clients of the webhook, and whether it answers with values to any client.
//!
//! A refused client is not in the audit trail: it proved nothing of what it stated.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Why the webhook refuses a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientRefusal {
    /// The certificate is not valid, or of an unknown CA. The handshake failed.
    UnknownCertificate,
    /// The client presented no certificate. The handshake failed.
    NoCertificate,
    /// The certificate has none of the allowed names.
    Name,
    /// The API server forwarded the request of a user who is not allowed.
    User,
}

/// Metrics of the webhook's clients.
#[derive(Clone, Default)]
pub(super) struct ClientMetrics {
    refused: Family<RefusalLabel, Counter>,
    values_to_anyone: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabel {
    reason: &'static str,
}

// === impl ClientRefusal ===

impl ClientRefusal {
    const ALL: [Self; 4] = [Self::UnknownCertificate, Self::NoCertificate, Self::Name, Self::User];

    /// Returns the label value in metrics, and the word in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownCertificate => "unknown-certificate",
            Self::NoCertificate => "no-certificate",
            Self::Name => "name",
            Self::User => "user",
        }
    }
}

// === impl ClientMetrics ===

impl ClientMetrics {
    /// Registers the metrics, with every counter at zero.
    pub(super) fn register(&self, registry: &mut Registry) {
        for refusal in ClientRefusal::ALL {
            drop(self.refused(refusal));
        }
        registry.register("refused_clients", "Refused clients of the webhook, by reason", self.refused.clone());
        let help = "1 if server.clients.acceptValuesToAnyone allows values in answers to any client";
        registry.register("values_to_anyone", help, self.values_to_anyone.clone());
    }

    pub(super) fn refused(&self, refusal: ClientRefusal) -> Counter {
        self.refused.get_or_create_owned(&RefusalLabel { reason: refusal.as_str() })
    }

    pub(super) fn set_values_to_anyone(&self, allowed: bool) {
        self.values_to_anyone.set(allowed.into());
    }
}
