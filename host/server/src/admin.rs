//! The admin port: plain HTTP, for the kubelet and Prometheus.
//!
//! Routes:
//!
//! * `GET /livez`: 200 while the process runs.
//! * `GET /readyz`: 503 until every part is ready, and during the drain; with `?verbose`, the state
//!   of each part and plugin.
//! * `GET /metrics`: metrics as OpenMetrics text.
//! * `GET /plugins`: the state of each plugin as JSON.
//!
//! No route reveals data of a pod. Of the configuration, the routes reveal only its errors.

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::plugins::{PluginStates, PluginStatus};
use ampoule_telemetry::{metrics::Metrics, readiness::Readiness};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The admin port's routes.
pub(crate) fn router(readiness: Readiness, metrics: Metrics, plugins: PluginStates) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state((readiness, plugins.clone())))
        .route("/plugins", get(plugin_states).with_state(plugins))
        .route("/metrics", get(metrics_text).with_state(metrics))
}

async fn readyz(State((readiness, plugins)): State<(Readiness, PluginStates)>, RawQuery(query): RawQuery) -> Response {
    let report = readiness.report();
    let verbose = query.is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some("verbose")));
    match (report.ready, verbose) {
        (true, false) => "ok\n".into_response(),
        (true, true) => format!("{}{}readyz check passed\n", report.lines, plugins.lines()).into_response(),
        (false, _) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{}{}readyz check failed\n", report.lines, plugins.lines()))
                .into_response()
        }
    }
}

async fn plugin_states(State(plugins): State<PluginStates>) -> Json<Vec<PluginStatus>> {
    Json(plugins.get().to_vec())
}

async fn metrics_text(State(metrics): State<Metrics>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.text()).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ampoule_core::FailureKind;
    use ampoule_engine::{Call, CallObserver as _, CallOutcome, Grant};
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use ampoule_core::AdmissionOutcome;

    use ampoule_telemetry::metrics::{PluginFigures, PluginLabels};

    async fn get(readiness: &Readiness, metrics: &Metrics, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response =
            router(readiness.clone(), metrics.clone(), PluginStates::default()).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn is_ready_when_every_part_is_ready() {
        let (readiness, metrics) = (Readiness::default(), Metrics::new());
        let plugins = readiness.add_gate("plugins", "not loaded yet");
        let lines = "[-]plugins failed: not loaded yet\n[+]shutdown ok\nreadyz check failed\n";
        for path in ["/readyz", "/readyz?verbose"] {
            assert_eq!(get(&readiness, &metrics, path).await, (503, lines.to_owned()));
        }
        plugins.ready();
        assert_eq!(get(&readiness, &metrics, "/readyz").await, (200, "ok\n".to_owned()));
        let lines = "[+]plugins ok\n[+]shutdown ok\nreadyz check passed\n";
        assert_eq!(get(&readiness, &metrics, "/readyz?verbose").await, (200, lines.to_owned()));
        readiness.drain();
        assert_eq!(get(&readiness, &metrics, "/readyz").await.0, 503);
        assert_eq!(get(&readiness, &metrics, "/livez").await, (200, "ok\n".to_owned()));
        assert_eq!(get(&readiness, &metrics, "/").await.0, 404);
    }

    #[tokio::test]
    async fn serves_every_metric_under_its_name() {
        let metrics = Metrics::new();
        metrics.admitted(AdmissionOutcome::Mutated, Duration::from_micros(80));
        metrics.rejected("too-large");
        let call = |outcome| Call {
            outcome,
            reused: false,
            elapsed: Duration::from_micros(30),
            queue: Duration::ZERO,
            start: Some(Duration::from_micros(7)),
            guest: Duration::from_micros(20),
            host: Duration::ZERO,
            memory: Some(1 << 20),
        };
        let k8s = metrics.of_plugin("k8s", "");
        k8s.called(&call(CallOutcome::Injected));
        k8s.called(&Call { memory: None, ..call(CallOutcome::Failed(FailureKind::Deadline)) });
        k8s.denied(Grant::Clock);
        let [plugin, version, digest, source, signer] =
            ["x", "0.1.0", "0f", "file:/x", "team (2b8d)"].map(str::to_owned);
        metrics.loaded(&PluginLabels { plugin, version, digest, source, signer });
        let open = metrics.port("webhook").opened();
        let (status, text) = get(&Readiness::default(), &metrics, "/metrics").await;
        assert_eq!(status, 200);
        for line in [
            "ampoule_admissions_total{outcome=\"mutated\"} 1",
            "ampoule_admission_duration_seconds_bucket{le=\"0.0001\",outcome=\"mutated\"} 1",
            "ampoule_rejected_requests_total{reason=\"too-large\"} 1",
            "ampoule_plugin_call_duration_seconds_count{plugin=\"k8s\",outcome=\"injected\"} 1",
            "ampoule_plugin_call_duration_seconds_count{plugin=\"k8s\",outcome=\"deadline\"} 1",
            "ampoule_plugin_traps_total{plugin=\"k8s\",kind=\"deadline\"} 1",
            "ampoule_plugin_denied_calls_total{plugin=\"k8s\",grant=\"clock\"} 1",
            "ampoule_plugin_memory_high_water_bytes{plugin=\"k8s\"} 1048576",
            "ampoule_phase_duration_seconds_bucket{le=\"0.00001\",phase=\"instantiate\"} 2",
            "ampoule_phase_duration_seconds_count{phase=\"guest\"} 2",
            "ampoule_phase_duration_seconds_count{phase=\"host-call\"} 0",
            "ampoule_plugin_info{plugin=\"x\",version=\"0.1.0\",digest=\"0f\",source=\"file:/x\",signer=\"team (2b8d)\"} 1",
            "ampoule_open_connections{port=\"webhook\"} 1",
            "ampoule_connections_total{port=\"webhook\"} 1",
            concat!("ampoule_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("ampoule_plugin_guest_seconds_total{plugin=\"k8s\"} 0.00004"), "{text}");
        let figures = &metrics.plugin_figures(&["k8s", "other"])[..];
        assert_eq!(figures[0].calls, [("injected", 1, 0.00003), ("deadline", 1, 0.00003)], "{figures:?}");
        assert_eq!((figures[0].guest_seconds, figures[0].memory_bytes), (0.00004, 1 << 20));
        assert_eq!(figures[1], PluginFigures::default());
        metrics.plugin_gone("k8s");
        assert!(!metrics.text().contains("\"k8s\""), "{}", metrics.text());
        drop(open);
        assert!(metrics.text().contains("ampoule_open_connections{port=\"webhook\"} 0"));
    }
}
