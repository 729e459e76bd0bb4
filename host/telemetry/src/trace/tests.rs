//! Tests of disabled tracing, of sampling, and of the exported spans.
//!
//! `tests/e2e/traces.rs` tests the export over the network.

use std::sync::Mutex;

use ampoule_core::{
    AdmissionOutcome, Call, CallOutcome, FailureKind, RequestOptions, RequestReport, SecretRequest, Unobserved,
};
use opentelemetry::trace::SpanId;
use opentelemetry_sdk::{error::OTelSdkResult, trace::SpanData};

use super::*;

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// Keeps the exported spans.
#[derive(Clone, Debug, Default)]
struct RecordingExporter(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for RecordingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn call(outcome: CallOutcome) -> Call {
    let [queue, start, guest, host, elapsed] = [1, 2, 3, 4, 10].map(Duration::from_micros);
    Call { outcome, reused: false, elapsed, queue, start: Some(start), guest, host, memory: Some(1 << 16) }
}

/// An admission with one call, and its spans by name.
async fn admission(headers: &HeaderMap, outcome: CallOutcome, code: u16) -> Vec<SpanData> {
    let kept = RecordingExporter::default();
    let traces = Traces::to(kept.clone(), 1.0);
    let observer = traces.observe(Arc::new(Unobserved)).of_plugin("k8s", &"0123456789abcdef".repeat(4));
    let arrived = Instant::now();
    let trace = traces.begin(headers, arrived);
    trace.record_phase("parse", arrived);
    trace.follow(async { observer.called(&call(outcome)) }).await;
    trace.part("patch", || ());
    let (uid, namespace, name) = ("7f", "flyte", "task");
    let report = RequestReport {
        options: RequestOptions::default(),
        annotation: String::new(),
        request: SecretRequest::default(),
        attempts: Vec::new(),
        findings: Vec::new(),
    };
    let (requests, elapsed) = (&[report.clone(), report][..], Duration::ZERO);
    let service_account = "";
    trace.end(&AdmissionRecord {
        uid,
        namespace,
        name,
        service_account,
        dry_run: false,
        outcome: AdmissionOutcome::Mutated,
        code,
        requests,
        elapsed,
    });
    drop(trace);
    // Outside of an admission: it creates no span.
    observer.called(&call(outcome));
    traces.end(Duration::from_secs(5)).await;
    let mut spans = std::mem::take(&mut *kept.0.lock().unwrap());
    spans.sort_by(|a, b| a.name.cmp(&b.name));
    spans
}

fn attributes(span: &SpanData) -> Vec<String> {
    span.attributes.iter().map(|KeyValue { key, value, .. }| format!("{key}={value}")).collect()
}

#[test]
fn disabled_tracing_does_not_wrap_anything() {
    let traces = Traces::start(None).unwrap();
    let trace = traces.begin(&headers(&[(TRACEPARENT, SAMPLED)]), Instant::now());
    assert!(traces.0.is_none() && trace.0.is_none());
    let observer: Arc<dyn CallObserver> = Arc::new(Unobserved);
    assert!(Arc::ptr_eq(&traces.observe(Arc::clone(&observer)), &observer), "calls have no second observer");
    assert!(matches!(futures_util::FutureExt::now_or_never(trace.follow(async { 7 })), Some(7)));
}

#[tokio::test]
async fn the_caller_decides_before_the_ratio() {
    for (ratio, traceparent, traced) in [
        (0.0, None, false),
        (1.0, None, true),
        (0.0, Some(SAMPLED), true),
        (1.0, Some(NOT_SAMPLED), false),
        (1.0, Some("00-0-0-00"), true),
        (0.0, Some("00-00000000000000000000000000000000-b7ad6b7169203331-01"), false),
    ] {
        let traces = Traces::to(RecordingExporter::default(), ratio);
        let headers = headers(&traceparent.map(|value| (TRACEPARENT, value)).into_iter().collect::<Vec<_>>());
        assert_eq!(traces.begin(&headers, Instant::now()).0.is_some(), traced, "{ratio} {traceparent:?}");
        traces.end(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn the_span_of_an_admission_has_the_caller_as_parent_and_its_phases_as_children() {
    let headers = headers(&[(TRACEPARENT, SAMPLED), ("tracestate", "vendor=anything")]);
    let spans = admission(&headers, CallOutcome::Injected, 200).await;
    let [admission, parse, patch, call] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!([&admission.name, &parse.name, &patch.name, &call.name], ["admission", "parse", "patch", "plugin call"]);
    assert_eq!(admission.parent_span_id, SpanId::from_hex("b7ad6b7169203331").unwrap());
    for span in &spans {
        assert_eq!(span.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span.span_context.trace_state().header(), "", "the tracestate may be long");
        assert_eq!(span.status, Status::Unset);
    }
    for part in [parse, patch, call] {
        assert_eq!(part.parent_span_id, admission.span_context.span_id(), "{}", part.name);
        let within = admission.start_time <= part.start_time && part.end_time <= admission.end_time;
        assert!(within && part.start_time <= part.end_time, "{part:?} in {admission:?}");
    }
    assert_eq!(
        attributes(admission),
        [
            "ampoule.uid=7f",
            "k8s.namespace.name=flyte",
            "k8s.pod.name=task",
            "ampoule.dry_run=false",
            "ampoule.outcome=mutated",
            "ampoule.code=200",
            "ampoule.requests=2"
        ]
    );
    assert_eq!(
        attributes(call),
        [
            "ampoule.plugin=k8s",
            "ampoule.digest=0123456789ab",
            "ampoule.outcome=injected",
            "ampoule.queue_micros=1",
            "ampoule.guest_micros=3",
            "ampoule.host_micros=4",
            "ampoule.instantiate_micros=2",
            "ampoule.memory_bytes=65536"
        ]
    );
}

#[tokio::test]
async fn failures_of_the_webhook_are_errors() {
    let spans = admission(&HeaderMap::new(), CallOutcome::Failed(FailureKind::Trap), 500).await;
    let errors: Vec<_> = spans.iter().filter(|span| span.status == Status::error("")).map(|span| &span.name).collect();
    assert_eq!(errors, ["admission", "plugin call"]);
    let spans = admission(&HeaderMap::new(), CallOutcome::Denied, 403).await;
    assert!(spans.len() == 4 && spans.iter().all(|span| span.status == Status::Unset), "{spans:?}");
}

/// Never finishes an export.
#[derive(Debug)]
struct StuckExporter(Mutex<std::sync::mpsc::Sender<()>>);

impl SpanExporter for StuckExporter {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        let _ = self.0.lock().unwrap().send(());
        std::future::pending().await
    }
}

#[tokio::test]
async fn dropping_the_traces_does_not_wait_for_the_collector() {
    let (exporting, exports) = std::sync::mpsc::channel();
    let traces = Traces::to(StuckExporter(Mutex::new(exporting)), 1.0);
    let trace = traces.begin(&HeaderMap::new(), Instant::now());
    trace.reject("path", 404);
    let begun = Instant::now();
    drop(traces);
    assert!(begun.elapsed() < Duration::from_secs(3), "the SDK's own timeout is five seconds");
    tokio::task::spawn_blocking(move || exports.recv_timeout(Duration::from_secs(30))).await.unwrap().unwrap();
    let begun = Instant::now();
    drop(trace);
    assert!(begun.elapsed() < Duration::from_secs(3), "the last tracer does not wait either");
}
