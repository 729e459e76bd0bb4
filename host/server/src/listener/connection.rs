//! One connection: HTTP over an open stream, ended when it idles, when the process drains, or when it does not end by itself.
//!
//! HTTP/2 has no time limit of its own for a client that never sends a request, so idleness is watched here for both versions.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, service::service_fn};
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

use super::Drain;

/// Request heads are small; a client that trickles one is not a client.
const HEAD: Duration = Duration::from_secs(10);
/// Longer than the 90 s after which Kubernetes' clients close an idle connection themselves, so that they do, without a race.
const IDLE: Duration = Duration::from_secs(120);
/// How long a connection that idled may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
/// Asks a silent HTTP/2 client for a sign of life.
const PING: Duration = Duration::from_secs(30);
/// The API server sends a handful of headers.
const HEADERS: u32 = 16 * 1024;
/// Requests at once on one connection; one API server sends all of its reviews over one.
const STREAMS: u32 = 250;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Whether requests are open on a connection, and since when not.
struct Activity {
    open: AtomicUsize,
    last: Mutex<Instant>,
}

/// A request that is open as long as this lives.
struct OpenRequest(Arc<Activity>);

/// Serves a connection until it ends.
pub(super) async fn serve<S>(stream: S, protocol: Protocol, router: Router, mut drain: Drain)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let activity = Arc::new(Activity { open: AtomicUsize::new(0), last: Mutex::new(Instant::now()) });
    let requests = Arc::clone(&activity);
    let service = service_fn(move |request: Request<Incoming>| {
        let (open, router) = (OpenRequest::new(&requests), router.clone());
        async move {
            let answer = router.oneshot(request.map(Body::new)).await;
            drop(open);
            answer
        }
    });
    let builder = builder(protocol);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut goodbye = pin!(sleep(Duration::MAX));
    let (mut draining, mut idled) = (false, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                // The client's doing more often than ours, and the text names no content.
                return ended.unwrap_or_else(|error| debug!(error, "connection ended early"));
            }
            () = drain.started(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = activity.idle(), if !draining && !idled => {
                idled = true;
                connection.as_mut().graceful_shutdown();
                goodbye.set(sleep(GOODBYE));
            }
            () = goodbye.as_mut() => return,
        }
    }
}

/// The version is known, so the builder's own guess is off: it would wait for a first byte without a limit.
fn builder(protocol: Protocol) -> Builder<TokioExecutor> {
    let mut builder = match protocol {
        Protocol::Http1 => Builder::new(TokioExecutor::new()).http1_only(),
        Protocol::Http2 => Builder::new(TokioExecutor::new()).http2_only(),
    };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS);
    builder
}

// === impl Protocol ===

impl Protocol {
    /// What client and server agreed on; HTTP/1.1 for a client that does not negotiate.
    pub(super) fn negotiated(alpn: Option<&[u8]>) -> Self {
        if alpn == Some(b"h2") { Self::Http2 } else { Self::Http1 }
    }
}

// === impl Activity ===

impl Activity {
    /// Returns once no request was open for [`IDLE`].
    async fn idle(&self) {
        loop {
            let since = match self.open.load(Ordering::Acquire) {
                0 => *self.last.lock().unwrap_or_else(PoisonError::into_inner),
                _ => Instant::now(),
            };
            let end = since + IDLE;
            if Instant::now() >= end {
                return;
            }
            sleep_until(end).await;
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
        let Self(activity) = self;
        *activity.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        activity.open.fetch_sub(1, Ordering::AcqRel);
    }
}
