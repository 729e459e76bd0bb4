//! The signal that a port is to stop accepting: [`DrainTrigger`] gives it once, every [`Drain`] sees it.
//!
//! A trigger that is dropped gives the signal too, so no port outlives its owner.

use tokio::sync::watch;

/// Gives the signal.
pub struct DrainTrigger(watch::Sender<bool>);

/// Waits for the signal. Cheap to clone.
#[derive(Clone)]
pub struct Drain(watch::Receiver<bool>);

// === impl DrainTrigger ===

impl DrainTrigger {
    /// A trigger and the first of its receivers.
    #[must_use]
    pub fn new() -> (Self, Drain) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Drain(receiver))
    }

    /// Gives the signal.
    pub fn start(&self) {
        self.0.send_replace(true);
    }
}

// === impl Drain ===

impl Drain {
    /// Returns once the signal was given; at once if it was before. Cancel safe.
    pub async fn started(&mut self) {
        let _ = self.0.wait_for(|started| *started).await;
    }
}
