//! Spans of admissions for a collector: [`Traces`] creates one [`Trace`] per admission. If tracing
//! is off, both are empty.
//!
//! A span contains a uid, names, outcomes and times. It never contains a secret or its name, an
//! annotation, a setting, or free text.

mod calls;
mod export;
#[cfg(test)]
mod tests;

use ampoule_core::CallObserver;
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::Either;
use hyper::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    context::FutureExt as _,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanExporter},
};
use tokio::task::spawn_blocking;

use self::{calls::TracedCalls, export::Collector};
use crate::record::AdmissionRecord;
use ampoule_config::TracingConfig;

pub use self::export::ExportError;

/// The name of the service and of the tracer.
const NAME: &str = "ampoule";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// W3C's header with the caller's span.
const TRACEPARENT: &str = "traceparent";

/// Creates the traces of admissions, if a collector is configured. Cheap to clone.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Tracing>>);

/// The spans of one admission, if it is traced. Clones belong to the same admission.
#[derive(Clone, Default)]
pub struct Trace(Option<TracedAdmission>);

/// The exporter's provider. Dropping it discards spans that were not sent, without waiting.
struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// An admission in progress.
#[derive(Clone)]
struct TracedAdmission {
    tracer: SdkTracer,
    /// Its span and its [`Clock`]; the parent of all other spans.
    context: Context,
}

/// Converts measured instants to points in time, independent of changes of the system clock: these
/// would make the spans of an admission overlap.
#[derive(Clone, Copy)]
struct Clock {
    arrived: Instant,
    at: SystemTime,
}

/// A finished phase of an admission.
struct FinishedPhase {
    name: &'static str,
    started: Instant,
    attributes: Vec<KeyValue>,
    failed: bool,
}

// === impl Traces ===

impl Traces {
    /// Starts the export to the configured collector, on the current runtime. Without a
    /// configuration, tracing is off.
    ///
    /// # Errors
    ///
    /// A file that the configuration names is missing or not valid.
    pub fn start(config: Option<&TracingConfig>) -> Result<Self, ExportError> {
        let Some(config) = config else { return Ok(Self::default()) };
        Ok(Self::to(Collector::new(config)?, config.sample_ratio))
    }

    /// Uses bounded memory: at most 2048 spans wait for the export, and further ones are dropped.
    /// The environment can change this limit (`OTEL_BSP_…`).
    fn to(exporter: impl SpanExporter + 'static, sample_ratio: f64) -> Self {
        let names = [KeyValue::new("service.name", NAME), KeyValue::new("service.version", VERSION)];
        let resource = Resource::builder_empty()
            .with_attributes(names)
            .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())])
            .build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample_ratio))))
            .with_resource(resource)
            .with_span_processor(BatchSpanProcessor::builder(exporter).build())
            .build();
        let tracer = provider.tracer(NAME);
        Self(Some(Arc::new(Tracing { provider, tracer })))
    }

    /// Begins the trace of a request. The caller's span decides whether it is sampled; without one,
    /// the configured ratio decides.
    pub fn begin(&self, headers: &HeaderMap, arrived: Instant) -> Trace {
        let Some(tracing) = self.0.as_deref() else { return Trace::default() };
        let tracer = &tracing.tracer;
        let clock = Clock { arrived, at: SystemTime::now() };
        let caller = TraceContextPropagator::new().extract_with_context(&Context::new(), &Caller(headers));
        let span = tracer.span_builder("admission").with_kind(SpanKind::Server).with_start_time(clock.at);
        let context = caller.with_span(span.start_with_context(tracer, &caller)).with_value(clock);
        let sampled = context.span().span_context().is_sampled();
        Trace(sampled.then(|| TracedAdmission { tracer: tracer.clone(), context }))
    }

    /// Returns an observer that also creates a span for each call of a traced admission.
    pub fn observe(&self, observer: Arc<dyn CallObserver>) -> Arc<dyn CallObserver> {
        match self.0.as_deref() {
            None => observer,
            Some(tracing) => Arc::new(TracedCalls::new(observer, tracing.tracer.clone())),
        }
    }

    /// Sends the waiting spans within the grace period, and discards later ones.
    pub async fn end(self, grace: Duration) {
        let Some(tracing) = self.0 else { return };
        // The shutdown blocks until the exporter's thread ends, and that thread needs this runtime.
        // The exporter logs its errors.
        let _ = spawn_blocking(move || tracing.provider.shutdown_with_timeout(grace)).await;
    }
}

// === impl Tracing ===

impl Drop for Tracing {
    fn drop(&mut self) {
        // Without it, the drop of the last tracer would wait for the collector, on any thread.
        // After `end`, this has no effect.
        let _ = self.provider.shutdown_with_timeout(Duration::ZERO);
    }
}

// === impl Trace ===

impl Trace {
    /// Runs a phase of the admission and records its span.
    pub fn part<T>(&self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let Some(_) = &self.0 else { return work() };
        let started = Instant::now();
        let done = work();
        self.record_phase(name, started);
        done
    }

    /// Records the span of a phase that began at `started` and ends now.
    pub fn record_phase(&self, name: &'static str, started: Instant) {
        if let Some(admission) = &self.0 {
            let phase = FinishedPhase { name, started, attributes: Vec::new(), failed: false };
            phase.record(&admission.tracer, &admission.context);
        }
    }

    /// Assigns the plugin calls of this future to the admission, on any thread.
    pub fn follow<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        match &self.0 {
            None => Either::Left(future),
            Some(admission) => Either::Right(future.with_context(admission.context.clone())),
        }
    }

    /// Ends the admission's span.
    pub fn end(&self, record: &AdmissionRecord<'_>) {
        self.finish(record.code, || {
            vec![
                KeyValue::new("ampoule.uid", record.uid.to_owned()),
                KeyValue::new("k8s.namespace.name", record.namespace.to_owned()),
                KeyValue::new("k8s.pod.name", record.name.to_owned()),
                KeyValue::new("ampoule.dry_run", record.dry_run),
                KeyValue::new("ampoule.outcome", record.outcome.as_str()),
                KeyValue::new("ampoule.code", i64::from(record.code)),
                KeyValue::new("ampoule.requests", count(record.requests.len())),
            ]
        });
    }

    /// Ends the span of a request without a readable review.
    pub fn reject(&self, reason: &'static str, code: u16) {
        self.finish(code, || {
            vec![KeyValue::new("ampoule.rejection", reason), KeyValue::new("ampoule.code", i64::from(code))]
        });
    }

    fn finish(&self, code: u16, attributes: impl FnOnce() -> Vec<KeyValue>) {
        let Some(admission) = &self.0 else { return };
        let span = admission.context.span();
        span.set_attributes(attributes());
        if code >= 500 {
            span.set_status(Status::error(""));
        }
        if let Some(clock) = admission.context.get::<Clock>() {
            span.end_with_timestamp(clock.time(Instant::now()));
        }
    }
}

// === impl FinishedPhase ===

impl FinishedPhase {
    /// Records its span, which ends now.
    fn record(self, tracer: &SdkTracer, context: &Context) {
        use opentelemetry::trace::Span as _;

        let Some(clock) = context.get::<Clock>() else { return };
        let span = tracer.span_builder(self.name).with_start_time(clock.time(self.started));
        let mut span = span.with_attributes(self.attributes).start_with_context(tracer, context);
        if self.failed {
            span.set_status(Status::error(""));
        }
        span.end_with_timestamp(clock.time(Instant::now()));
    }
}

// === impl Clock ===

impl Clock {
    fn time(&self, instant: Instant) -> SystemTime {
        self.at + instant.saturating_duration_since(self.arrived)
    }
}

/// The caller's trace context. It omits `tracestate`, which may be long and is not used.
struct Caller<'a>(&'a HeaderMap);

impl Extractor for Caller<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if key == TRACEPARENT { self.0.get(key)?.to_str().ok() } else { None }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
