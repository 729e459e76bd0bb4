//! The signals that a port is to be left, and then to stop: [`DrainTrigger`] gives them once, every [`Drain`] sees them.
//!
//! A trigger that is dropped gives the last one, so no port outlives its owner.

use tokio::sync::watch;

/// Gives the signals.
pub struct DrainTrigger(watch::Sender<Stage>);

/// Waits for the signals. Cheap to clone.
#[derive(Clone)]
pub struct Drain(watch::Receiver<Stage>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    Leaving,
    Draining,
}

// === impl DrainTrigger ===

impl DrainTrigger {
    /// A trigger and the first of its receivers.
    #[must_use]
    pub fn new() -> (Self, Drain) {
        let (sender, receiver) = watch::channel(Stage::Serving);
        (Self(sender), Drain(receiver))
    }

    /// Everything is served on, but a client that can be told to go elsewhere is, with its answer.
    pub fn leave(&self) {
        self.0.send_replace(Stage::Leaving);
    }

    /// Nothing new is served.
    pub fn start(&self) {
        self.0.send_replace(Stage::Draining);
    }
}

// === impl Drain ===

impl Drain {
    /// Whether clients are to go elsewhere.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        *self.0.borrow() >= Stage::Leaving
    }

    /// Returns once the port is to stop; at once if it was before. Cancel safe.
    pub async fn started(&mut self) {
        let _ = self.0.wait_for(|stage| *stage == Stage::Draining).await;
    }
}
