//! What one admission has asked and moved beyond the sandbox: [`OutboundBudget`], and [`CountedBody`], which fails once it is too much.
//!
//! A budget is shared by the instances that one plugin has for one admission, and by what is under way for them on other threads.

use std::{
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::Error;

use crate::limits::Limits;

/// What a plugin may still ask and move for one admission.
pub(crate) struct OutboundBudget {
    calls: AtomicU32,
    bytes: AtomicUsize,
    told: AtomicBool,
}

/// A body whose bytes are counted, in either direction.
pub(super) struct CountedBody<B> {
    body: B,
    budget: Arc<OutboundBudget>,
    /// What is said when it was too much.
    exceeded: fn() -> Error,
}

// === impl OutboundBudget ===

impl OutboundBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            calls: AtomicU32::new(limits.outbound_calls),
            bytes: AtomicUsize::new(limits.outbound_bytes),
            told: AtomicBool::new(false),
        }
    }

    /// Counts a call; false if there may be no more.
    pub(crate) fn call(&self) -> bool {
        self.calls.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Counts bytes; false if that is too many.
    pub(crate) fn bytes(&self, count: usize) -> bool {
        self.bytes.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(count)).is_ok()
    }

    /// True the first time: a plugin may fail often, and the log need not have more than the first.
    pub(crate) fn is_news(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }
}

// === impl CountedBody ===

impl<B> CountedBody<B> {
    pub(super) fn request(body: B, budget: Arc<OutboundBudget>) -> Self {
        Self { body, budget, exceeded: || Error::HttpRequestBodySize(None) }
    }

    pub(super) fn response(body: B, budget: Arc<OutboundBudget>) -> Self {
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
        let count = |frame: &Frame<Bytes>| frame.data_ref().map_or(0, Bytes::len);
        Poll::Ready(match frame {
            Some(Ok(frame)) if !self.budget.bytes(count(&frame)) => Some(Err((self.exceeded)())),
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
