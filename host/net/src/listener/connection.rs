//! One connection: HTTP over an open stream, with every reason for which it ends.
//!
//! A connection ends when it is too old, when it is idle, when the process drains, or when it does
//! not end by itself. HTTP/2 can announce the end such that no request is lost. HTTP/1.1 can
//! announce it only with a response that has `connection: close`: a request may already be in
//! progress when an idle connection closes, and the API server does not repeat it. An old HTTP/1.1
//! connection therefore ends with its next response.

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

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
    time::{Instant, sleep, sleep_until},
};
use tower::ServiceExt as _;
use tracing::debug;

use super::{drain::Drain, idle_eviction::IdleEviction, peer::Peer};

/// Longer than the 90 s after which Kubernetes' clients close an idle connection, so that they
/// close it first and no request is lost. Also the limit for a request's head, which hyper counts
/// from the previous response.
const IDLE: Duration = Duration::from_secs(120);
/// A connection that has been idle for less than this may be in use.
const MOMENT: Duration = Duration::from_secs(1);
/// Time that an idle connection gets to complete its graceful shutdown.
const FAREWELL: Duration = Duration::from_secs(5);
/// Interval of pings to a silent HTTP/2 client, and the limit for the reply.
const PING: Duration = Duration::from_secs(30);
/// Bytes of a request's headers; the API server sends only a few.
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
    /// Another connection waits for a permit, and this one has been idle for a moment.
    eviction: Arc<IdleEviction>,
}

/// The HTTP version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// In-flight request count, and when the connection last became idle.
struct Activity {
    open: AtomicUsize,
    idle_since: Mutex<Instant>,
}

/// Counts as one in-flight request until it is dropped.
struct OpenRequest(Arc<Activity>);

/// Serves a connection until it ends.
pub(super) async fn serve<S>(stream: S, protocol: Protocol, peer: Peer, router: Router, mut life: ConnectionLife)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let activity = Arc::new(Activity::new());
    let (requests, shared_life) = (Arc::clone(&activity), Arc::new(life.clone()));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let open = OpenRequest::new(&requests);
        respond(request, protocol, router.clone(), Arc::clone(&shared_life), open)
    });
    let (idle, farewell, eviction) = (life.idle, life.farewell, Arc::clone(&life.eviction));
    let builder = builder(protocol, idle);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut farewell_over = pin!(sleep(Duration::MAX));
    let (mut is_ending, mut was_idle) = (false, false);
    loop {
        tokio::select! {
            // Read what has arrived before the connection counts as idle.
            biased;
            ended = connection.as_mut() => {
                // Usually the client ended it. The error contains no request content.
                return ended.unwrap_or_else(|error| debug!(error, "connection ended early"));
            }
            () = life.must_end(protocol), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
            // Also for a connection that is ending: a client that never sends, or never reads its
            // response, would keep its permit forever.
            () = activity.wait_until_idle(idle, &eviction), if !was_idle => {
                was_idle = true;
                connection.as_mut().graceful_shutdown();
                farewell_over.set(sleep(farewell));
            }
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

async fn respond(
    request: Request<Incoming>,
    protocol: Protocol,
    router: Router,
    life: Arc<ConnectionLife>,
    open: OpenRequest,
) -> Result<Response, Infallible> {
    let Ok(mut response) = router.oneshot(request.map(Body::new)).await;
    if protocol == Protocol::Http1 && life.is_over() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    drop(open);
    Ok(response)
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

// === impl ConnectionLife ===

impl ConnectionLife {
    /// Starts now. The age limit varies by a tenth, so that connections that begin together do not
    /// end together.
    pub(super) fn new(drain: Drain, max_age: Option<Duration>, eviction: Arc<IdleEviction>) -> Self {
        let old_at = max_age.map(|age| Instant::now() + age.mul_f64(0.9 + 0.2 * fastrand::f64()));
        Self { drain, old_at, idle: IDLE, farewell: FAREWELL, eviction }
    }

    /// Returns once the handshake has taken a moment and another connection waits for the permit.
    pub(super) async fn handshake_evicted(&self) {
        sleep(MOMENT).await;
        self.eviction.requested().await;
    }

    /// Whether the client should open another connection for its next request.
    fn is_over(&self) -> bool {
        self.drain.is_leaving() || self.old_at.is_some_and(|old_at| old_at <= Instant::now())
    }

    /// Returns once the connection must end even while no request is open.
    async fn must_end(&mut self, protocol: Protocol) {
        let old_at = self.old_at.filter(|_| protocol == Protocol::Http2);
        tokio::select! {
            () = self.drain.started() => {}
            () = sleep_until_some(old_at) => {}
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

// === impl Activity ===

impl Activity {
    fn new() -> Self {
        Self { open: AtomicUsize::new(0), idle_since: Mutex::new(Instant::now()) }
    }

    /// Returns once no request was open for `limit`, or for a moment if another connection waits
    /// for the permit.
    async fn wait_until_idle(&self, limit: Duration, eviction: &IdleEviction) {
        loop {
            // A busy connection does not take eviction requests, so that they reach one that can
            // close.
            sleep_until(self.idle_since() + limit.min(MOMENT)).await;
            if self.was_idle_for(limit) {
                return;
            }
            if !self.was_idle_for(MOMENT) {
                continue;
            }
            tokio::select! {
                () = sleep_until(self.idle_since() + limit) => {}
                () = eviction.requested() => {
                    if self.was_idle_for(MOMENT) {
                        return;
                    }
                    // This connection became busy while it waited; another one may be idle.
                    eviction.pass_on();
                }
            }
        }
    }

    fn was_idle_for(&self, time: Duration) -> bool {
        Instant::now() >= self.idle_since() + time
    }

    /// Returns when the last request ended; the present while a request is open.
    fn idle_since(&self) -> Instant {
        match self.open.load(Ordering::Acquire) {
            0 => *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner),
            _ => Instant::now(),
        }
    }
}

// === impl OpenRequest ===

impl OpenRequest {
    fn new(activity: &Arc<Activity>) -> Self {
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
