//! Connections above the limit: a waiting connection evicts an idle one through [`IdleEviction`].
//!
//! One connection is evicted per request. A request that no connection received expires when the
//! waiting connection gets its permit.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether a connection waits for a permit, and the request that one idle connection receives.
#[derive(Default)]
pub(super) struct IdleEviction {
    is_waiting: AtomicBool,
    request: Notify,
}

// === impl IdleEviction ===

impl IdleEviction {
    /// Requests that one idle connection closes.
    pub(super) fn request(&self) {
        self.is_waiting.store(true, Ordering::Release);
        self.request.notify_one();
    }

    /// Cancels open requests: no connection waits any more.
    pub(super) fn cancel(&self) {
        self.is_waiting.store(false, Ordering::Release);
    }

    /// Returns once this connection is the one to close.
    pub(super) async fn requested(&self) {
        loop {
            self.request.notified().await;
            if self.is_waiting.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Passes the request on to another connection, because this one is busy.
    pub(super) fn pass_on(&self) {
        self.request.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_request_reaches_one_connection_and_expires_when_no_connection_waits() {
        let eviction = IdleEviction::default();
        eviction.request();
        assert_eq!(eviction.requested().now_or_never(), Some(()));
        assert_eq!(eviction.requested().now_or_never(), None);
        eviction.request();
        eviction.cancel();
        assert_eq!(eviction.requested().now_or_never(), None);
        eviction.request();
        eviction.pass_on();
        assert_eq!(eviction.requested().now_or_never(), Some(()));
    }
}
