//! The port `server.invalidation`: another program reports that values of a store have changed.
//!
//! Route: `POST /invalidate-secret` with `{"org", "domain", "project", "name"}`, as in Flyte. It
//! clears the caches with `injectors[].cache.invalidation` as a whole: only a plugin knows which of
//! its promises belong to a secret. A client can therefore cause fetches, so the number of requests
//! is bounded.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ampoule_telemetry::metrics::{InvalidationResult, Metrics};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde::Deserialize;
use tracing::info;

use crate::plugins::KeptValues;

/// The path in Flyte.
const PATH: &str = "/invalidate-secret";
/// Bytes of a body. A request has four names.
const MAX_BODY: usize = 8 << 10;
/// Requests at once, and the time after which another one is possible.
const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(1);

/// A secret of Flyte. An absent part is empty, as in Go.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SecretReport {
    org: Option<String>,
    domain: Option<String>,
    project: Option<String>,
    name: Option<String>,
}

struct Invalidation {
    values: KeptValues,
    metrics: Metrics,
    allowance: Mutex<Allowance>,
}

/// The number of requests that are possible now.
#[derive(Debug)]
struct Allowance {
    left: u32,
    since: Instant,
}

/// The routes of the port.
pub(crate) fn router(values: KeptValues, metrics: Metrics) -> Router {
    let allowance = Mutex::new(Allowance { left: BURST, since: Instant::now() });
    Router::new()
        .route(PATH, post(invalidate))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(Invalidation { values, metrics, allowance }))
}

async fn invalidate(State(state): State<Arc<Invalidation>>, body: Result<Bytes, BytesRejection>) -> Response {
    let (result, response) = match body.map_err(|error| error.status()).map(|body| check(&body)) {
        Err(status) => (InvalidationResult::Invalid, (status, "the body cannot be read\n").into_response()),
        Ok(Err(reason)) => (InvalidationResult::Invalid, (StatusCode::BAD_REQUEST, reason).into_response()),
        Ok(Ok(())) if !state.take() => (InvalidationResult::Limited, limited()),
        Ok(Ok(())) => {
            let plugins = state.values.forget();
            info!(plugins, "forgot the values that plugins fetched, because a client reported a change");
            (InvalidationResult::Done, StatusCode::OK.into_response())
        }
    };
    state.metrics.invalidated(result);
    response
}

/// Checks a body. The error is Flyte's, without a part of the body.
fn check(body: &[u8]) -> Result<(), String> {
    let report: SecretReport = serde_json::from_slice(body).map_err(|error| {
        format!("invalid request body: not the expected JSON at line {}, column {}\n", error.line(), error.column())
    })?;
    let SecretReport { org, domain, project, name } = report;
    // Only a plugin could tell which promises belong to this scope.
    drop((org, domain, project));
    if name.is_none_or(|name| name.is_empty()) {
        return Err("name is required\n".to_owned());
    }
    Ok(())
}

fn limited() -> Response {
    let wait = [(header::RETRY_AFTER, REFILL.as_secs().to_string())];
    (StatusCode::TOO_MANY_REQUESTS, wait, "too many requests; retry later\n").into_response()
}

// === impl Invalidation ===

impl Invalidation {
    /// Takes one request from the allowance. Returns false if it is used up.
    fn take(&self) -> bool {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }
}

// === impl Allowance ===

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        let refills = now.saturating_duration_since(self.since).as_secs() / REFILL.as_secs();
        if refills > 0 {
            self.left = self.left.saturating_add(u32::try_from(refills).unwrap_or(u32::MAX)).min(BURST);
            self.since = now;
        }
        let is_possible = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_possible
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    const GOOD: &str = r#"{"org": "flyte", "domain": "", "project": "", "name": "my_secret"}"#;

    async fn ask(router: &Router, method: &str, path: &str, body: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(text.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn answers_are_those_of_flyte() {
        let metrics = Metrics::new();
        let router = router(KeptValues::default(), metrics.clone());
        let long = format!(r#"{{"name": "{}"}}"#, "x".repeat(MAX_BODY));
        for (method, path, body, status, text) in [
            ("POST", PATH, GOOD, 200, ""),
            ("POST", PATH, r#"{"name": "n", "more": 1}"#, 200, ""),
            ("POST", PATH, r#"{"org": "flyte"}"#, 400, "name is required\n"),
            ("POST", PATH, r#"{"name": null}"#, 400, "name is required\n"),
            (
                "POST",
                PATH,
                r#"{"name": "hush"#,
                400,
                "invalid request body: not the expected JSON at line 1, column 14\n",
            ),
            ("POST", PATH, &long, 413, "the body cannot be read\n"),
            ("GET", PATH, "", 405, "method not allowed\n"),
            ("POST", "/", GOOD, 404, ""),
        ] {
            assert_eq!(ask(&router, method, path, body).await, (status, text.to_owned()), "{method} {path} {body:.40}");
        }
        let text = metrics.text();
        for line in [
            "ampoule_value_invalidations_total{result=\"done\"} 2",
            "ampoule_value_invalidations_total{result=\"invalid\"} 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[tokio::test]
    async fn requests_are_bounded() {
        let router = router(KeptValues::default(), Metrics::new());
        for _ in 0..BURST {
            assert_eq!(ask(&router, "POST", PATH, GOOD).await.0, 200);
        }
        let (status, text) = ask(&router, "POST", PATH, GOOD).await;
        assert_eq!((status, text.as_str()), (429, "too many requests; retry later\n"));
    }

    #[test]
    fn the_allowance_grows_with_time_up_to_the_burst() {
        let start = Instant::now();
        let mut allowance = Allowance { left: 1, since: start };
        for (seconds, expected) in [(0, true), (0, false), (1, true), (1, false), (3, true), (3, true), (3, false)] {
            assert_eq!(allowance.take(start + Duration::from_secs(seconds)), expected, "after {seconds} s");
        }
        let later = start + Duration::from_secs(3600);
        let possible = (0..100).filter(|_| allowance.take(later)).count();
        assert_eq!(possible, BURST as usize);
    }
}
