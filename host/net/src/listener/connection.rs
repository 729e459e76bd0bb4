//! One connection: HTTP over an open stream, with every reason for which it ends.
//!
//! A connection ends when it is too old, when it is idle, when the process drains, or when it does
//! not end by itself. HTTP/2 can announce the end such that no request is lost. HTTP/1.1 can
//! announce it only with a response that has `connection: close`: a request may already be in
//! progress when an idle connection closes, and the API server does not repeat it. An old HTTP/1.1
//! connection therefore ends with its next response.

#[cfg(test)]
mod tests;

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, response::Response};
use hyper::{
    Request,
    body::Incoming,
    header::{self, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tower::ServiceExt as _;
use tracing::debug;

use super::{
    activity::{Activity, OpenRequest},
    drain::Drain,
    peer::Peer,
    table::ConnectionSlot,
};

/// Time that an idle connection gets to complete its graceful shutdown.
const FAREWELL: Duration = Duration::from_secs(5);
/// Time after which an ending connection is closed even if requests are open. It is longer than the
/// longest request (30 s). An HTTP/2 client that ignores GOAWAY could otherwise send requests
/// forever.
const LONGEST_END: Duration = Duration::from_secs(35);
/// Interval of pings to a silent HTTP/2 client, and the limit for the reply.
const PING: Duration = Duration::from_secs(30);
/// Maximum size of a request's headers in bytes. The API server sends few headers.
const HEADERS: u32 = 16 * 1024;
/// Concurrent requests on one connection; one API server sends all its reviews over one.
const STREAMS: u32 = 250;

/// The conditions under which a connection ends.
#[derive(Clone)]
pub(super) struct ConnectionLife {
    /// The process drains.
    drain: Drain,
    /// The connection is old at this time; `None` for never.
    old_at: Option<Instant>,
    /// No request was open for this long.
    idle: Duration,
    /// Time for the graceful shutdown of an idle connection.
    farewell: Duration,
    /// Time for the graceful shutdown of any connection.
    longest_end: Duration,
}

/// The HTTP version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What the requests of a connection share.
struct RequestService {
    protocol: Protocol,
    peer: Peer,
    router: Router,
    life: ConnectionLife,
    /// A response ends the connection.
    closing: Arc<Notify>,
}

/// Serves a connection until it ends.
pub(super) async fn serve<S>(
    stream: S,
    protocol: Protocol,
    peer: Peer,
    router: Router,
    mut life: ConnectionLife,
    slot: &ConnectionSlot,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (activity, closing) = (Arc::clone(slot.activity()), Arc::new(Notify::new()));
    let (idle, farewell, longest_end) = (life.idle, life.farewell, life.longest_end);
    let (shared_life, is_closing) = (life.clone(), Arc::clone(&closing));
    let requests = Arc::new(RequestService { protocol, peer, router, life: shared_life, closing: is_closing });
    let counted = Arc::clone(&activity);
    let service = service_fn(move |request: Request<Incoming>| {
        let open = OpenRequest::new(&counted);
        Arc::clone(&requests).respond(request, open)
    });
    let builder = builder(protocol, idle);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut farewell_over = pin!(sleep(Duration::MAX));
    let mut end_over = pin!(sleep(Duration::MAX));
    let (mut is_ending, mut was_idle) = (false, false);
    loop {
        tokio::select! {
            // Read what has arrived before the connection counts as idle.
            biased;
            ended = connection.as_mut() => {
                // Usually the client ended it. The error contains no request content.
                return ended.unwrap_or_else(|error| debug!(error, "connection ended early"));
            }
            () = life.must_end(protocol, &closing), if !is_ending => {
                is_ending = true;
                end_over.set(sleep(longest_end));
                connection.as_mut().graceful_shutdown();
            }
            // Also for a connection that is ending: a client that never sends, or never reads its
            // response, would keep its slot forever.
            is_evicted = leaves(&activity, idle, slot), if !was_idle => {
                // Its graceful shutdown would wait for the first request.
                if is_evicted && protocol == Protocol::Http1 && !activity.is_busy() {
                    return debug!("idle connection closed in favour of a new connection");
                }
                if !is_ending {
                    end_over.set(sleep(longest_end));
                }
                was_idle = true;
                connection.as_mut().graceful_shutdown();
                farewell_over.set(sleep(farewell));
            }
            () = end_over.as_mut() => return debug!("connection closed: its client ignored the announced end"),
            () = farewell_over.as_mut() => {
                // A request may have arrived before the client read the end of the connection.
                let close_at = activity.idle_since() + farewell;
                if close_at <= Instant::now() {
                    return;
                }
                farewell_over.set(sleep_until(close_at));
            }
        }
    }
}

/// Returns once the connection must give up its slot, and whether it was evicted.
async fn leaves(activity: &Activity, idle: Duration, slot: &ConnectionSlot) -> bool {
    tokio::select! {
        () = activity.wait_until_idle(idle) => false,
        () = slot.evicted() => true,
    }
}

/// Fixes the HTTP version. Detecting it would wait for the first byte without a limit.
fn builder(protocol: Protocol, idle: Duration) -> Builder<TokioExecutor> {
    let mut builder = match protocol {
        Protocol::Http1 => Builder::new(TokioExecutor::new()).http1_only(),
        Protocol::Http2 => Builder::new(TokioExecutor::new()).http2_only(),
    };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS);
    builder
}

// === impl RequestService ===

impl RequestService {
    async fn respond(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        open: OpenRequest,
    ) -> Result<Response, Infallible> {
        request.extensions_mut().insert(self.peer.clone());
        let Ok(mut response) = self.router.clone().oneshot(request.map(Body::new)).await;
        let headers = response.headers_mut();
        if self.protocol == Protocol::Http1 && self.life.is_over() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        // HTTP/2 has no such header: the connection itself announces its end.
        if self.protocol == Protocol::Http2 && headers.remove(header::CONNECTION).is_some() {
            self.closing.notify_one();
        }
        drop(open);
        Ok(response)
    }
}

// === impl ConnectionLife ===

impl ConnectionLife {
    /// Starts now. The age limit varies by a tenth, so that connections that begin together do not
    /// end together.
    pub(super) fn new(drain: Drain, max_age: Option<Duration>, idle: Duration) -> Self {
        let old_at = max_age.map(|age| Instant::now() + age.mul_f64(0.9 + 0.2 * fastrand::f64()));
        Self { drain, old_at, idle, farewell: FAREWELL, longest_end: LONGEST_END }
    }

    /// Whether the client should open another connection for its next request.
    fn is_over(&self) -> bool {
        self.drain.is_leaving() || self.old_at.is_some_and(|old_at| old_at <= Instant::now())
    }

    /// Returns once the connection must end even while no request is open.
    async fn must_end(&mut self, protocol: Protocol, closing: &Notify) {
        let old_at = self.old_at.filter(|_| protocol == Protocol::Http2);
        tokio::select! {
            () = self.drain.started() => {}
            () = sleep_until_some(old_at) => {}
            () = closing.notified() => {}
        }
    }
}

/// Never returns for `None`.
async fn sleep_until_some(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

// === impl Protocol ===

impl Protocol {
    /// Maps the protocol that TLS negotiated; HTTP/1.1 for a client that does not negotiate.
    pub(super) fn from_alpn(alpn: Option<&[u8]>) -> Self {
        if alpn == Some(b"h2") { Self::Http2 } else { Self::Http1 }
    }
}
