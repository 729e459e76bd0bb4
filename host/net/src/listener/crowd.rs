//! Connections beyond the bound: [`Crowd`], by which one that waits asks those that idle to make way.
//!
//! One is called at a time. A call that nobody heard is no call once nobody waits any more.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether a connection waits for a place, and the call for one.
#[derive(Default)]
pub(super) struct Crowd {
    waits: AtomicBool,
    call: Notify,
}

// === impl Crowd ===

impl Crowd {
    /// Asks one to make way.
    pub(super) fn call(&self) {
        self.waits.store(true, Ordering::Release);
        self.call.notify_one();
    }

    /// Nobody waits any more.
    pub(super) fn is_over(&self) {
        self.waits.store(false, Ordering::Release);
    }

    /// Returns once it is this one that is asked.
    pub(super) async fn called(&self) {
        loop {
            self.call.notified().await;
            if self.waits.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Asks another in place of this one, which is busy.
    pub(super) fn pass_on(&self) {
        self.call.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_call_is_heard_once_and_not_where_nobody_waits_any_more() {
        let crowd = Crowd::default();
        crowd.call();
        assert_eq!(crowd.called().now_or_never(), Some(()));
        assert_eq!(crowd.called().now_or_never(), None);
        crowd.call();
        crowd.is_over();
        assert_eq!(crowd.called().now_or_never(), None);
        crowd.call();
        crowd.pass_on();
        assert_eq!(crowd.called().now_or_never(), Some(()));
    }
}
