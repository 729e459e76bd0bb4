//! The admin port: plain HTTP, for the kubelet and Prometheus.
//!
//! Routes: `GET /livez` (the process answers), `GET /readyz` (503 until everything is there, and while draining; with
//! `?verbose`, each part), `GET /metrics` (OpenMetrics text). Nothing here tells of a pod or of the configuration.

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{metrics::Metrics, readiness::Readiness};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The admin port's routes.
pub fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(text).with_state(metrics))
}

async fn readyz(State(readiness): State<Readiness>, RawQuery(query): RawQuery) -> Response {
    let report = readiness.report();
    let verbose = query.is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some("verbose")));
    match (report.ready, verbose) {
        (true, false) => "ok\n".into_response(),
        (true, true) => format!("{}readyz check passed\n", report.lines).into_response(),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}readyz check failed\n", report.lines)).into_response(),
    }
}

async fn text(State(metrics): State<Metrics>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.text()).into_response()
}
