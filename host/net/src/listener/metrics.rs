//! [`ConnectionMetrics`]: the number of open and of accepted connections of one port.
//!
//! The caller owns the registry and chooses the names of the metrics.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

/// The connection metrics of one port.
#[derive(Clone, Debug, Default)]
pub struct ConnectionMetrics {
    open: Gauge,
    accepted: Counter,
}

/// Counts as one open connection until it is dropped.
pub struct OpenConnection(Gauge);

// === impl ConnectionMetrics ===

impl ConnectionMetrics {
    /// Counts open connections in `open` and accepted connections in `accepted`.
    #[must_use]
    pub fn new(open: Gauge, accepted: Counter) -> Self {
        Self { open, accepted }
    }

    /// Returns the number of connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.get()
    }

    /// Counts a connection as accepted, and as open until the returned value is dropped.
    #[must_use]
    pub fn opened(&self) -> OpenConnection {
        self.accepted.inc();
        self.open.inc();
        OpenConnection(self.open.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
