//! A span for each call of a plugin: [`TracedCalls`], between the engine and whoever observes the calls anyway.
//!
//! The admission that a call belongs to is the current context of the thread, which `Trace::follow` sees to.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ampoule_engine::{Call, CallObserver, CallOutcome, Grant, PluginObserver};
use opentelemetry::{Context, KeyValue, trace::TraceContextExt as _};
use opentelemetry_sdk::trace::SdkTracer;

use super::Part;

/// Characters of a digest that tell one component from another.
const DIGEST_START: usize = 12;

/// Tells an observer of calls, and makes a span of each that belongs to a traced admission.
pub(super) struct TracedCalls {
    observer: Arc<dyn CallObserver>,
    tracer: SdkTracer,
}

struct TracedPlugin {
    observer: Arc<dyn PluginObserver>,
    tracer: SdkTracer,
    name: Arc<str>,
    digest: Arc<str>,
}

// === impl TracedCalls ===

impl TracedCalls {
    pub(super) fn new(observer: Arc<dyn CallObserver>, tracer: SdkTracer) -> Self {
        Self { observer, tracer }
    }
}

impl CallObserver for TracedCalls {
    fn of_plugin(&self, plugin: &str, digest: &str) -> Arc<dyn PluginObserver> {
        let observer = self.observer.of_plugin(plugin, digest);
        let digest = digest.get(..DIGEST_START).unwrap_or(digest).into();
        Arc::new(TracedPlugin { observer, tracer: self.tracer.clone(), name: plugin.into(), digest })
    }
}

// === impl TracedPlugin ===

impl PluginObserver for TracedPlugin {
    fn called(&self, call: &Call) {
        self.observer.called(call);
        let context = Context::current();
        if context.has_active_span() {
            self.span(call).tell(&self.tracer, &context);
        }
    }

    fn denied(&self, grant: Grant) {
        self.observer.denied(grant);
    }
}

impl TracedPlugin {
    fn span(&self, call: &Call) -> Part {
        let Call { outcome, elapsed, queue, start, guest, host, memory } = call;
        let mut attributes = vec![
            KeyValue::new("ampoule.plugin", Arc::clone(&self.name)),
            KeyValue::new("ampoule.digest", Arc::clone(&self.digest)),
            KeyValue::new("ampoule.outcome", outcome.as_str()),
            KeyValue::new("ampoule.queue_micros", micros(*queue)),
            KeyValue::new("ampoule.guest_micros", micros(*guest)),
            KeyValue::new("ampoule.host_micros", micros(*host)),
        ];
        attributes.extend(start.map(|start| KeyValue::new("ampoule.instantiate_micros", micros(start))));
        attributes.extend(memory.map(|memory| KeyValue::new("ampoule.memory_bytes", super::count(memory))));
        let now = Instant::now();
        let started = now.checked_sub(*elapsed).unwrap_or(now);
        Part {
            name: "plugin call",
            started,
            attributes,
            failed: matches!(outcome, CallOutcome::Failed(_) | CallOutcome::Abandoned),
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
