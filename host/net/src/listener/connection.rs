//! One connection: HTTP over an open stream, ended when it is old, when it idles, when the process drains, or when it does not end
//! by itself.
//!
//! HTTP/2 has a way to say goodbye that no request can cross. HTTP/1.1 has none but an answer that says `connection: close`: a
//! request may be on its way to a connection that ends while it idles, and the API server does not send it again. So there an old
//! connection ends with its next answer.

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

use axum::{Router, body::Body};
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

use super::{Drain, crowd::Crowd};

/// Longer than the 90 s after which Kubernetes' clients close an idle connection themselves, so that they do, without a race. Also
/// how long a request's head may take: hyper counts that from the answer before.
const IDLE: Duration = Duration::from_secs(120);
/// A connection that idled for less may be in use.
const MOMENT: Duration = Duration::from_secs(1);
/// How long a connection that idled may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
/// Asks a silent HTTP/2 client for a sign of life.
const PING: Duration = Duration::from_secs(30);
/// The API server sends a handful of headers.
const HEADERS: u32 = 16 * 1024;
/// Requests at once on one connection; one API server sends all of its reviews over one.
const STREAMS: u32 = 250;

/// When a connection ends.
#[derive(Clone)]
pub(super) struct ConnectionLife {
    /// With the process.
    drain: Drain,
    /// When it is old; none is never.
    old: Option<Instant>,
    /// When nothing was asked for this long.
    idle: Duration,
    /// How long it then has to say goodbye.
    goodbye: Duration,
    /// When another waits for its place, and nothing was asked for a moment.
    crowd: Arc<Crowd>,
}

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
pub(super) async fn serve<S>(stream: S, protocol: Protocol, router: Router, mut life: ConnectionLife)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let activity = Arc::new(Activity { open: AtomicUsize::new(0), last: Mutex::new(Instant::now()) });
    let (requests, of_requests) = (Arc::clone(&activity), Arc::new(life.clone()));
    let service = service_fn(move |request: Request<Incoming>| {
        let (open, router, life) = (OpenRequest::new(&requests), router.clone(), Arc::clone(&of_requests));
        async move {
            let Ok(mut answer) = router.oneshot(request.map(Body::new)).await;
            if protocol == Protocol::Http1 && life.is_over() {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            drop(open);
            Ok::<_, Infallible>(answer)
        }
    });
    let (idle, farewell, crowd) = (life.idle, life.goodbye, Arc::clone(&life.crowd));
    let builder = builder(protocol, idle);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut goodbye = pin!(sleep(Duration::MAX));
    let (mut ending, mut idled) = (false, false);
    loop {
        tokio::select! {
            // What has arrived is read before the connection counts as idle.
            biased;
            ended = connection.as_mut() => {
                // The client's doing more often than ours, and the text names no content.
                return ended.unwrap_or_else(|error| debug!(error, "connection ended early"));
            }
            () = life.is_to_end(protocol), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            // Also of one that is ending: a client that never speaks, or does not read its answer, would hold its place for ever.
            () = activity.idle(idle, &crowd), if !idled => {
                idled = true;
                connection.as_mut().graceful_shutdown();
                goodbye.set(sleep(farewell));
            }
            () = goodbye.as_mut() => {
                // A request may have come before the client read the goodbye.
                let over = activity.since() + farewell;
                if over <= Instant::now() {
                    return;
                }
                goodbye.set(sleep_until(over));
            }
        }
    }
}

/// The version is known, so the builder's own guess is off: it would wait for a first byte without a limit.
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
    /// It begins now, and is old at this age, give or take a tenth: connections that begin together do not end together.
    pub(super) fn new(drain: Drain, max_age: Option<Duration>, crowd: Arc<Crowd>) -> Self {
        let old = max_age.map(|age| Instant::now() + age.mul_f64(0.9 + 0.2 * fastrand::f64()));
        Self { drain, old, idle: IDLE, goodbye: GOODBYE, crowd }
    }

    /// Returns once a handshake has had its moment and another connection waits for the place.
    pub(super) async fn handshake_makes_way(&self) {
        sleep(MOMENT).await;
        self.crowd.called().await;
    }

    /// Whether the client is to make another connection for its next request.
    fn is_over(&self) -> bool {
        let Self { drain, old, .. } = self;
        drain.is_leaving() || old.is_some_and(|old| old <= Instant::now())
    }

    /// Returns once the connection is to end even where nothing is asked on it.
    async fn is_to_end(&mut self, protocol: Protocol) {
        let Self { drain, old, .. } = self;
        let old = async {
            match old.filter(|_| protocol == Protocol::Http2) {
                Some(old) => sleep_until(old).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = drain.started() => {}
            () = old => {}
        }
    }
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
    /// Returns once no request was open for this long, or for a moment where another connection waits for the place.
    async fn idle(&self, limit: Duration, crowd: &Crowd) {
        let idled = |time| Instant::now() >= self.since() + time;
        loop {
            // Who is busy listens to nobody, so that the call reaches one that can go.
            sleep_until(self.since() + limit.min(MOMENT)).await;
            if idled(limit) {
                return;
            }
            if !idled(MOMENT) {
                continue;
            }
            tokio::select! {
                () = sleep_until(self.since() + limit) => {}
                () = crowd.called() => {
                    if idled(MOMENT) {
                        return;
                    }
                    // Busy since it began to listen: the next one may not be.
                    crowd.pass_on();
                }
            }
        }
    }

    /// Since when no request has been open; now, if one is.
    fn since(&self) -> Instant {
        match self.open.load(Ordering::Acquire) {
            0 => *self.last.lock().unwrap_or_else(PoisonError::into_inner),
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
        let Self(activity) = self;
        *activity.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        activity.open.fetch_sub(1, Ordering::AcqRel);
    }
}
