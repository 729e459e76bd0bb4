//! [`ConnectionLimits`]: how many connections a port has, and for how long.
//!
//! The limit per peer is half of a port, so that one client cannot lock out the others. All API
//! servers behind one proxy, or behind the address translation of a node, share an address: they
//! have half of the port together.

use std::time::Duration;

/// The limits of the connections of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open connections.
    pub total: usize,
    /// Open connections of one address.
    pub per_peer: usize,
    /// Time without a request after which a connection is closed. Also the limit for a request's
    /// head, which hyper counts from the previous response.
    pub idle: Duration,
    /// A connection that has been idle for less than this may be in use, and is not evicted.
    pub moment: Duration,
}

// === impl ConnectionLimits ===

impl ConnectionLimits {
    /// The limits of the webhook's port.
    #[must_use]
    pub fn webhook(total: usize) -> Self {
        Self {
            total,
            per_peer: total.div_ceil(2),
            // Longer than the 90 s after which Kubernetes' clients close an idle connection, so
            // that they close it first and no request is lost.
            idle: Duration::from_secs(120),
            moment: Duration::from_secs(1),
        }
    }

    /// The limits of the console's port. A browser opens up to six connections, and all clients of
    /// a proxy or of `kubectl port-forward` share an address.
    #[must_use]
    pub fn console() -> Self {
        Self { total: 128, per_peer: 96, idle: Duration::from_secs(60), moment: Duration::ZERO }
    }

    /// The limits of the admin port. Its clients are the kubelet, which opens a connection for each
    /// probe, and one or two scrapers. They repeat a request on a connection that was closed.
    #[must_use]
    pub fn admin() -> Self {
        Self { total: 64, per_peer: 16, idle: Duration::from_secs(5), moment: Duration::ZERO }
    }
}
