//! The two signals of a shutdown: [`DrainTrigger`] sends them once, and every [`Drain`] receives
//! them.
//!
//! First clients are asked to leave, then the port stops. Dropping the trigger also stops the port,
//! so no port outlives its owner.

use tokio::sync::watch;

/// Sends the signals.
pub struct DrainTrigger(watch::Sender<DrainStage>);

/// Receives the signals. Cheap to clone.
#[derive(Clone)]
pub struct Drain(watch::Receiver<DrainStage>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum DrainStage {
    Serving,
    Leaving,
    Draining,
}

// === impl DrainTrigger ===

impl DrainTrigger {
    /// Returns a trigger and its first receiver.
    #[must_use]
    pub fn new() -> (Self, Drain) {
        let (sender, receiver) = watch::channel(DrainStage::Serving);
        (Self(sender), Drain(receiver))
    }

    /// Asks clients to reconnect elsewhere. The port serves all requests; responses close HTTP/1.1
    /// connections.
    pub fn leave(&self) {
        self.0.send_replace(DrainStage::Leaving);
    }

    /// Stops the port: it serves no new request.
    pub fn start(&self) {
        self.0.send_replace(DrainStage::Draining);
    }
}

// === impl Drain ===

impl Drain {
    /// Whether clients should reconnect elsewhere.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        *self.0.borrow() >= DrainStage::Leaving
    }

    /// Returns once the port must stop; immediately if it already must. Cancel safe.
    pub async fn started(&mut self) {
        // An error means that the trigger was dropped, which stops the port too.
        let _ = self.0.wait_for(|stage| *stage == DrainStage::Draining).await;
    }
}
