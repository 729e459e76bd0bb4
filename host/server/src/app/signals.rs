//! The signals that end the process: SIGTERM as Kubernetes sends it, SIGINT as a terminal does.
//!
//! Signals are caught from [`Signals::new`] on. A signal before a call of [`Signals::next`] is
//! kept.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Streams of both signals.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

// === impl Signals ===

impl Signals {
    /// Starts to catch both signals. Must be called within a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal and returns its name. Cancel safe.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
