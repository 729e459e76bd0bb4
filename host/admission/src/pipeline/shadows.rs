//! The calls of shadow injectors, after the decision on the pod.
//!
//! They run in a task of their own with the deadline of the admission, so that they neither delay
//! nor change its answer. The task keeps the memory of the admission reserved.

use std::sync::Arc;

use ampoule_core::{ShadowComparison, ShadowResult, ShadowRun};
use ampoule_engine::PluginEngine;
use ampoule_telemetry::{
    decisions::{DecisionLog, RecordedDifferences},
    metrics::Metrics,
};
use tokio::{sync::Semaphore, time::timeout_at};
use tracing::{info, warn};

use crate::context::RequestContext;

/// Maximum number of pods whose shadow injectors run at once, in the process. For further pods they
/// are skipped, because each keeps the served values in memory.
const MAX_RUNS: usize = 16;

static RUNS: Semaphore = Semaphore::const_new(MAX_RUNS);

/// The destinations of the comparisons of one pod.
pub(super) struct ShadowReporter {
    pub(super) pod: RecordedDifferences,
    pub(super) metrics: Metrics,
    /// The log for the console; `None` without a console.
    pub(super) decisions: Option<DecisionLog>,
}

/// Starts the calls of one pod; skips them if too many run.
pub(super) fn start(
    run: ShadowRun,
    engine: &Arc<PluginEngine>,
    mut reporter: ShadowReporter,
    context: &RequestContext,
) {
    let Ok(permit) = RUNS.try_acquire() else {
        run.remaining(ShadowResult::Skipped).iter().for_each(|comparison| reporter.count(comparison));
        return;
    };
    let (engine, context) = (Arc::clone(engine), context.clone());
    tokio::spawn(async move {
        compare_all(run, &engine, &mut reporter, &context).await;
        reporter.finish();
        drop((permit, context));
    });
}

async fn compare_all(
    mut run: ShadowRun,
    engine: &PluginEngine,
    reporter: &mut ShadowReporter,
    context: &RequestContext,
) {
    let planned = run.remaining(ShadowResult::Failed);
    for done in 0..planned.len() {
        let step = engine.run(async move {
            let comparison = run.next().await;
            (run, comparison)
        });
        // A call that is dropped at the deadline, or that panics, fails, and so do the calls after
        // it.
        let Ok(Ok((rest, Some(comparison)))) = timeout_at(context.deadline, step).await else {
            warn!(uid = reporter.pod.uid, "the shadow injectors did not answer before the deadline");
            planned[done..].iter().for_each(|comparison| reporter.count(comparison));
            return;
        };
        run = rest;
        reporter.count(&comparison);
        reporter.log(&comparison);
    }
}

// === impl ShadowReporter ===

impl ShadowReporter {
    fn count(&mut self, comparison: &ShadowComparison) {
        self.metrics.compared(comparison);
        if self.decisions.is_some() {
            self.pod.compared(comparison);
        }
    }

    /// Logs a difference, without the edits and the names of the secret.
    fn log(&self, comparison: &ShadowComparison) {
        let (injector, served, answer) = (comparison.injector.as_str(), comparison.served, comparison.answer);
        let uid = self.pod.uid.as_str();
        match comparison.result {
            ShadowResult::Same | ShadowResult::Skipped | ShadowResult::Denied => {}
            ShadowResult::Different => info!(uid, injector, served, answer, "a shadow injector answers differently"),
            ShadowResult::Failed => warn!(uid, injector, served, answer, "a shadow injector did not answer"),
        }
    }

    fn finish(self) {
        if let Some(decisions) = self.decisions {
            decisions.compared(self.pod);
        }
    }
}
