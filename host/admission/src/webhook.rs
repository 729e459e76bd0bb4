//! The webhook's port.
//!
//! Route: `POST /mutate--v1-pod` (the path that Flyte registers) takes an `AdmissionReview` and
//! returns one. Other methods get 405, other paths 404. A request without a readable review gets an
//! HTTP error whose text gives the reason and repeats nothing of the body; every readable review
//! gets a review as its answer.

mod answer;
mod intake;
mod rejection;
#[cfg(test)]
mod tests;
mod timeout;
mod unread;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Instant,
};

use ampoule_config::WEBHOOK_PATH;
use ampoule_core::AdmissionMemory;
use ampoule_net::listener::Peer;
use ampoule_telemetry::{
    metrics::{Metrics, Phase},
    trace::Traces,
};
use axum::{
    Router,
    body::Body,
    extract::{Extension, RawQuery, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::{sync::Semaphore, time::Instant as Deadline};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::info;

use self::{answer::LeasedAnswer, rejection::Rejection};
use crate::{
    context::RequestContext,
    memory::{MemoryLease, MemoryPool},
    pipeline::ServingPipeline,
};

/// The address of a client that no listener reports, in tests.
const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const JSON: HeaderValue = HeaderValue::from_static("application/json");

struct Webhook {
    pipeline: Arc<ServingPipeline>,
    metrics: Metrics,
    traces: Traces,
    memory: Arc<MemoryPool>,
    /// One permit per running admission, including those that wait for a plugin instance.
    admission_permits: Semaphore,
    max_admissions: usize,
}

/// The webhook's routes. `metrics` counts requests without a review; the pipeline counts the rest.
/// All requests together use `memory`. At most `max_admissions` run at once; further ones are
/// rejected at once instead of queued.
pub fn router(
    pipeline: Arc<ServingPipeline>,
    metrics: Metrics,
    traces: Traces,
    memory: Arc<MemoryPool>,
    max_admissions: usize,
) -> Router {
    let admission_permits = Semaphore::new(max_admissions);
    let webhook = Webhook { pipeline, metrics, traces, memory, admission_permits, max_admissions };
    Router::new()
        .route(WEBHOOK_PATH, post(mutate))
        .method_not_allowed_fallback(async |body: Body| reject_unread(Rejection::Method, body).await)
        .fallback(async |body: Body| reject_unread(Rejection::Path, body).await)
        .layer(CatchPanicLayer::custom(|_| Rejection::Panic.into_response()))
        .with_state(Arc::new(webhook))
}

/// Rejects a request whose body is not a review.
async fn reject_unread(rejection: Rejection, body: Body) -> Response {
    unread::drain(body).await;
    rejection.into_response()
}

async fn mutate(
    State(webhook): State<Arc<Webhook>>,
    RawQuery(query): RawQuery,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let lease = webhook.memory.lease(peer.map_or(NO_ADDRESS, |Extension(peer)| peer.address));
    let context = webhook.context(&headers, query.as_deref(), Arc::clone(&lease));
    match webhook.answer(&headers, body, &lease, &context).await {
        Ok(answer) => {
            // The context and its trace have ended; only the answer is left.
            drop(context);
            ([(header::CONTENT_TYPE, JSON)], LeasedAnswer::wrap(answer, lease)).into_response()
        }
        Err(rejection) => webhook.reject(&rejection, &context),
    }
}

// === impl Webhook ===

impl Webhook {
    fn context(&self, headers: &HeaderMap, query: Option<&str>, memory: Arc<MemoryLease>) -> RequestContext {
        let arrived = Instant::now();
        let deadline = Deadline::from_std(arrived) + timeout::budget(query);
        RequestContext { arrived, deadline, trace: self.traces.begin(headers, arrived), memory }
    }

    async fn answer(
        &self,
        headers: &HeaderMap,
        body: Body,
        lease: &Arc<MemoryLease>,
        context: &RequestContext,
    ) -> Result<Vec<u8>, Rejection> {
        if let Err(rejection) = rejection::check_content_type(headers.get(header::CONTENT_TYPE)) {
            unread::drain(body).await;
            return Err(rejection);
        }
        let body = intake::read(body, lease, intake::deadline(context.deadline)).await?;
        // The document stays in memory until the answer, and the lease with it.
        if !lease.grow(ampoule_review::memory_bound(body.bytes())?) {
            return Err(Rejection::Crowded);
        }
        let mut request = ampoule_review::parse(body.bytes())?;
        let pipeline = self.pipeline.current();
        if pipeline.reads_requester() {
            request.requester = ampoule_review::parse_requester(body.bytes());
        }
        drop(body);
        self.metrics.phases().observe(Phase::Parse, context.arrived.elapsed());
        context.trace.record_phase("parse", context.arrived);
        // Acquired only now: an answer repeats the review's uid, and a slow body must not hold a
        // permit.
        let reply = match self.admission_permits.try_acquire() {
            Ok(_permit) => pipeline.admit(request, context).await,
            Err(_) => pipeline.reject_overloaded(request, self.max_admissions, context),
        };
        Ok(self.metrics.phases().timed(Phase::Answer, || ampoule_review::respond(&reply)))
    }

    fn reject(&self, rejection: &Rejection, context: &RequestContext) -> Response {
        let (reason, code) = (rejection.label(), rejection.status().as_u16());
        self.metrics.rejected(reason);
        context.trace.reject(reason, code);
        info!(reason, code, "request without a readable review");
        rejection.into_response()
    }
}
