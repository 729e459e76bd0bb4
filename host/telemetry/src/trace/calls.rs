//! Spans of plugin calls: [`TracedCalls`] wraps another observer of the engine.
//!
//! The current context of the thread identifies the admission of a call; `Trace::follow` sets it.

use ampoule_core::{Call, CallObserver, CallOutcome, CredentialError, Grant, PluginObserver, ValueOrigin};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry::{Context, KeyValue, trace::TraceContextExt as _};
use opentelemetry_sdk::trace::SdkTracer;

use super::FinishedPhase;

/// Characters of a digest that identify a component.
const DIGEST_START: usize = 12;

/// Forwards calls to an observer, and records a span for each call of a traced admission.
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
            self.finished_phase(call).record(&self.tracer, &context);
        }
    }

    fn denied(&self, grant: Grant) {
        self.observer.denied(grant);
    }

    fn value(&self, origin: ValueOrigin) {
        self.observer.value(origin);
    }

    fn login(&self, result: Result<(), CredentialError>) {
        self.observer.login(result);
    }
}

impl TracedPlugin {
    fn finished_phase(&self, call: &Call) -> FinishedPhase {
        let mut attributes = vec![
            KeyValue::new("ampoule.plugin", Arc::clone(&self.name)),
            KeyValue::new("ampoule.digest", Arc::clone(&self.digest)),
            KeyValue::new("ampoule.outcome", call.outcome.as_str()),
            KeyValue::new("ampoule.queue_micros", micros(call.queue)),
            KeyValue::new("ampoule.guest_micros", micros(call.guest)),
            KeyValue::new("ampoule.host_micros", micros(call.host)),
        ];
        attributes.extend(call.start.map(|start| KeyValue::new("ampoule.instantiate_micros", micros(start))));
        attributes.extend(call.reused.then(|| KeyValue::new("ampoule.reused", true)));
        attributes.extend(call.memory.map(|memory| KeyValue::new("ampoule.memory_bytes", super::count(memory))));
        let now = Instant::now();
        let started = now.checked_sub(call.elapsed).unwrap_or(now);
        FinishedPhase {
            name: "plugin call",
            started,
            attributes,
            failed: matches!(call.outcome, CallOutcome::Failed(_) | CallOutcome::Abandoned),
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
