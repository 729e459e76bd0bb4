//! [`ConnectionMetrics`]: how many connections a port has open, and how many it has accepted.
//!
//! The caller owns the registry and the names of the metrics.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

/// The metrics of one port.
#[derive(Clone, Debug, Default)]
pub struct ConnectionMetrics {
    open: Gauge,
    accepted: Counter,
}

/// A connection that is open as long as this lives.
pub struct OpenConnection(Gauge);

// === impl ConnectionMetrics ===

impl ConnectionMetrics {
    /// Counts open connections in `open` and accepted ones in `accepted`.
    #[must_use]
    pub fn new(open: Gauge, accepted: Counter) -> Self {
        Self { open, accepted }
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.get()
    }

    /// Counts a connection until the value is dropped.
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
