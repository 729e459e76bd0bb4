//! [`Activity`]: the requests that are open on one connection, and since when it is idle.
//!
//! The connection itself and the table of all connections share it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// In-flight request count, and when the connection last became idle. A connection without a
/// request, or without a complete handshake, is idle from its start.
pub(super) struct Activity {
    open: AtomicUsize,
    idle_since: Mutex<Instant>,
}

/// Counts as one in-flight request until it is dropped.
pub(super) struct OpenRequest(Arc<Activity>);

// === impl Activity ===

impl Activity {
    pub(super) fn new() -> Self {
        Self { open: AtomicUsize::new(0), idle_since: Mutex::new(Instant::now()) }
    }

    /// Returns once no request was open for this time.
    pub(super) async fn wait_until_idle(&self, limit: Duration) {
        while !self.was_idle_for(limit) {
            sleep_until(self.idle_since() + limit).await;
        }
    }

    pub(super) fn was_idle_for(&self, time: Duration) -> bool {
        Instant::now() >= self.idle_since() + time
    }

    pub(super) fn is_busy(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }

    /// Returns when the last request ended; the present while a request is open.
    pub(super) fn idle_since(&self) -> Instant {
        if self.is_busy() {
            return Instant::now();
        }
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl OpenRequest ===

impl OpenRequest {
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        activity.open.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(activity))
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let activity = &self.0;
        *activity.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        activity.open.fetch_sub(1, Ordering::AcqRel);
    }
}
