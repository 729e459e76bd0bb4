//! Spans of admissions, for a collector: [`Traces`] begins them, [`Trace`] is one admission's. Off, both are empty.
//!
//! A span says a uid, names, outcomes and times: never a secret or which one, an annotation, a setting, or a text that somebody wrote.

mod calls;
mod export;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use ampoule_engine::CallObserver;
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

/// The program, as a service and as what made the spans.
const NAME: &str = "ampoule";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// W3C's header with the span of whoever calls.
const TRACEPARENT: &str = "traceparent";

/// Begins traces, if there is somebody to tell. Cheap to clone.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Tracing>>);

/// The spans of one admission, if it is traced. Clones are the same admission.
#[derive(Clone, Default)]
pub struct Trace(Option<Admission>);

struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// An admission under way.
#[derive(Clone)]
struct Admission {
    tracer: SdkTracer,
    /// Its span and its [`Clock`]; the parent of all other spans.
    context: Context,
}

/// Makes points in time of what was measured: spans of one admission must not overlap because somebody sets a clock.
#[derive(Clone, Copy)]
struct Clock {
    arrived: Instant,
    at: SystemTime,
}

/// A part of an admission that is over.
struct Part {
    name: &'static str,
    started: Instant,
    attributes: Vec<KeyValue>,
    failed: bool,
}

// === impl Traces ===

impl Traces {
    /// Traces to this collector, from the runtime that this is called on; none if it is none.
    ///
    /// # Errors
    ///
    /// If one of the files that the configuration names is not as it must be.
    pub fn start(config: Option<&TracingConfig>) -> Result<Self, ExportError> {
        let Some(config) = config else { return Ok(Self::default()) };
        Ok(Self::to(Collector::new(config)?, config.sample_ratio))
    }

    /// Bounded in memory: of more than 2048 spans that wait, further ones are dropped. The environment may say otherwise (`OTEL_BSP_…`).
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
        // Dropping the last one would wait for the collector, wherever that happens; `end` does, for as long as there is time.
        std::mem::forget(provider.clone());
        let tracer = provider.tracer(NAME);
        Self(Some(Arc::new(Tracing { provider, tracer })))
    }

    /// A request came. It is traced if the caller's span is, or as the configuration says where the caller has none.
    pub fn begin(&self, headers: &HeaderMap, arrived: Instant) -> Trace {
        let Some(Tracing { tracer, .. }) = self.0.as_deref() else { return Trace::default() };
        let clock = Clock { arrived, at: SystemTime::now() };
        let caller = TraceContextPropagator::new().extract_with_context(&Context::new(), &Caller(headers));
        let span = tracer.span_builder("admission").with_kind(SpanKind::Server).with_start_time(clock.at);
        let context = caller.with_span(span.start_with_context(tracer, &caller)).with_value(clock);
        let sampled = context.span().span_context().is_sampled();
        Trace(sampled.then(|| Admission { tracer: tracer.clone(), context }))
    }

    /// Tells this observer of every call, and whoever is traced.
    pub fn observe(&self, observer: Arc<dyn CallObserver>) -> Arc<dyn CallObserver> {
        match self.0.as_deref() {
            None => observer,
            Some(Tracing { tracer, .. }) => Arc::new(TracedCalls::new(observer, tracer.clone())),
        }
    }

    /// Sends what waits, for no longer than this, and takes no more.
    pub async fn end(self, grace: Duration) {
        let Some(tracing) = self.0 else { return };
        // It waits for a thread of its own, which waits for this runtime. What went wrong is in the log.
        let _ = spawn_blocking(move || tracing.provider.shutdown_with_timeout(grace)).await;
    }
}

// === impl Trace ===

impl Trace {
    /// Does a part of the admission.
    pub fn part<T>(&self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let Some(_) = &self.0 else { return work() };
        let started = Instant::now();
        let done = work();
        self.past(name, started);
        done
    }

    /// A part of the admission that is over began then.
    pub fn past(&self, name: &'static str, started: Instant) {
        if let Some(Admission { tracer, context }) = &self.0 {
            Part { name, started, attributes: Vec::new(), failed: false }.tell(tracer, context);
        }
    }

    /// Calls of plugins that this future makes, on whatever thread, are parts of the admission.
    pub fn follow<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        match &self.0 {
            None => Either::Left(future),
            Some(Admission { context, .. }) => Either::Right(future.with_context(context.clone())),
        }
    }

    /// The admission is over.
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

    /// The request held no review.
    pub fn reject(&self, reason: &'static str, code: u16) {
        self.finish(code, || {
            vec![KeyValue::new("ampoule.rejection", reason), KeyValue::new("ampoule.code", i64::from(code))]
        });
    }

    fn finish(&self, code: u16, attributes: impl FnOnce() -> Vec<KeyValue>) {
        let Some(Admission { context, .. }) = &self.0 else { return };
        let span = context.span();
        span.set_attributes(attributes());
        if code >= 500 {
            span.set_status(Status::error(""));
        }
        if let Some(clock) = context.get::<Clock>() {
            span.end_with_timestamp(clock.time(Instant::now()));
        }
    }
}

// === impl Part ===

impl Part {
    /// Ends it now.
    fn tell(self, tracer: &SdkTracer, context: &Context) {
        use opentelemetry::trace::Span as _;

        let Some(clock) = context.get::<Clock>() else { return };
        let Self { name, started, attributes, failed } = self;
        let span = tracer.span_builder(name).with_start_time(clock.time(started)).with_attributes(attributes);
        let mut span = span.start_with_context(tracer, context);
        if failed {
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

/// Whoever calls, as far as their headers are believed: `tracestate` may be long, and is for nobody here.
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
