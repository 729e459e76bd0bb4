//! The webhook's port.
//!
//! Routes: `POST /mutate--v1-pod`, an `AdmissionReview` in and one out (the path is the one that Flyte registers). Other
//! methods get 405, other paths 404. A request that holds no review gets an HTTP error with a text that says why and
//! repeats nothing of it; whatever holds one gets a review as its answer.

mod intake;
mod rejection;
#[cfg(test)]
mod tests;
mod timeout;

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::{
    sync::Semaphore,
    time::{Instant as Deadline, timeout_at},
};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::info;

use self::{intake::Intake, rejection::Rejection};
use crate::pipeline::ServingPipeline;
use ampoule_config::WEBHOOK_PATH;
use ampoule_review as review;
use ampoule_telemetry::{
    metrics::{Metrics, Phase},
    trace::{Trace, Traces},
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

struct Webhook {
    pipeline: Arc<ServingPipeline>,
    metrics: Metrics,
    traces: Traces,
    intake: Intake,
    /// One permit for each admission that may be at work at once, those that wait for a plugin's instance included.
    turns: Semaphore,
    max_admissions: usize,
}

/// The webhook's routes. `metrics` counts what never becomes a review; the pipeline counts the rest. Of `max_admissions` that are
/// at work none waits for the others: a further one is turned away at once.
pub fn router(pipeline: Arc<ServingPipeline>, metrics: Metrics, traces: Traces, max_admissions: usize) -> Router {
    let turns = Semaphore::new(max_admissions);
    let webhook = Webhook { pipeline, metrics, traces, intake: Intake::default(), turns, max_admissions };
    Router::new()
        .route(WEBHOOK_PATH, post(mutate))
        .method_not_allowed_fallback(async || Rejection::Method.into_response())
        .fallback(async || Rejection::Path.into_response())
        .layer(CatchPanicLayer::custom(|_| Rejection::Panic.into_response()))
        .with_state(Arc::new(webhook))
}

async fn mutate(
    State(webhook): State<Arc<Webhook>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let arrived = Instant::now();
    let deadline = Deadline::from_std(arrived) + timeout::budget(query.as_deref());
    let trace = webhook.traces.begin(&headers, arrived);
    match webhook.answer(&headers, body, arrived, deadline, &trace).await {
        Ok(answer) => ([(header::CONTENT_TYPE, JSON)], answer).into_response(),
        Err(rejection) => {
            webhook.metrics.rejected(rejection.label());
            trace.reject(rejection.label(), rejection.status().as_u16());
            info!(reason = rejection.label(), code = rejection.status().as_u16(), "request without a readable review");
            rejection.into_response()
        }
    }
}

// === impl Webhook ===

impl Webhook {
    async fn answer(
        &self,
        headers: &HeaderMap,
        body: Body,
        arrived: Instant,
        deadline: Deadline,
        trace: &Trace,
    ) -> Result<Vec<u8>, Rejection> {
        rejection::check_content_type(headers.get(header::CONTENT_TYPE))?;
        let body = timeout_at(deadline, self.intake.read(body)).await.map_err(|_| Rejection::Slow)??;
        let request = review::parse(body.bytes())?;
        self.metrics.phases().observe(Phase::Parse, arrived.elapsed());
        trace.record_phase("parse", arrived);
        // The pod is a copy by now, of a similar size: the bytes go, the room stays taken until the answer.
        let _room = body.into_room();
        let pipeline = self.pipeline.current();
        // Not before: an answer repeats the review's uid, and who sends slowly must not keep others out.
        let reply = match self.turns.try_acquire() {
            Ok(_turn) => pipeline.admit(request, arrived, deadline, trace.clone()).await,
            Err(_) => pipeline.turn_away(request, arrived, self.max_admissions, trace.clone()),
        };
        Ok(self.metrics.phases().timed(Phase::Answer, || review::respond(&reply)))
    }
}
