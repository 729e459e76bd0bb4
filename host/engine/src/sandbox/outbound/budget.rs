//! [`OutboundBudget`]: the outbound calls and bytes of one admission. [`CountedBody`] counts the
//! bytes of a body.
//!
//! The instances of one plugin for one admission share a budget, and so do their requests in
//! progress on other threads.

use std::{
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::Error;

use ampoule_core::Limits;

/// The outbound calls and bytes that a plugin has left for one admission.
pub(crate) struct OutboundBudget {
    calls_left: AtomicU32,
    bytes_left: AtomicUsize,
    problem_logged: AtomicBool,
    login_refused: AtomicBool,
}

/// A request or response body that fails when the budget is used up.
pub(crate) struct CountedBody<B> {
    body: B,
    budget: Arc<OutboundBudget>,
    /// The error of a body that exceeds the budget.
    exceeded: fn() -> Error,
}

// === impl OutboundBudget ===

impl OutboundBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            calls_left: AtomicU32::new(limits.outbound_calls),
            bytes_left: AtomicUsize::new(limits.outbound_bytes),
            problem_logged: AtomicBool::new(false),
            login_refused: AtomicBool::new(false),
        }
    }

    /// The calls and bytes that are left.
    pub(crate) fn left(&self) -> (u32, usize) {
        (self.calls_left.load(Ordering::Relaxed), self.bytes_left.load(Ordering::Relaxed))
    }

    /// Sets the calls and bytes that are left.
    pub(crate) fn set_left(&self, calls: u32, bytes: usize) {
        self.calls_left.store(calls, Ordering::Relaxed);
        self.bytes_left.store(bytes, Ordering::Relaxed);
    }

    /// Counts a call. Returns false if the budget is used up.
    pub(crate) fn count_call(&self) -> bool {
        self.calls_left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Counts bytes. Returns false if there are not enough left.
    pub(crate) fn count_bytes(&self, count: usize) -> bool {
        self.bytes_left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(count)).is_ok()
    }

    /// Returns true the first time only. A plugin can fail often, and the log needs one line per
    /// admission.
    pub(crate) fn is_first_problem(&self) -> bool {
        !self.problem_logged.swap(true, Ordering::Relaxed)
    }

    /// Records that a request was not sent because the webhook's login was refused, or is not set
    /// up. To the plugin, it looks like a store that does not answer.
    pub(crate) fn record_refused_login(&self) {
        self.login_refused.store(true, Ordering::Relaxed);
    }

    /// Returns whether a login was refused since the last call.
    pub(crate) fn take_refused_login(&self) -> bool {
        self.login_refused.swap(false, Ordering::Relaxed)
    }
}

// === impl CountedBody ===

impl<B> CountedBody<B> {
    pub(crate) fn for_request(body: B, budget: Arc<OutboundBudget>) -> Self {
        Self { body, budget, exceeded: || Error::HttpRequestBodySize(None) }
    }

    pub(crate) fn for_response(body: B, budget: Arc<OutboundBudget>) -> Self {
        Self { body, budget, exceeded: || Error::HttpResponseBodySize(None) }
    }
}

impl<B> Body for CountedBody<B>
where
    B: Body<Data = Bytes, Error = Error> + Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) if !self.budget.count_bytes(data_size(&frame)) => Some(Err((self.exceeded)())),
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn data_size(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Bytes::len)
}
