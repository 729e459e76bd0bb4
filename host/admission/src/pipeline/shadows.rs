//! The calls of shadow injectors, after the decision on the pod.
//!
//! They run in a task of their own with the deadline of the admission, so that they neither delay
//! nor change its answer. The task keeps the memory of the admission reserved.

use std::sync::Arc;

use ampoule_core::{ShadowComparison, ShadowResult, ShadowRun};
use ampoule_engine::PluginEngine;
use ampoule_telemetry::metrics::Metrics;
use tokio::{sync::Semaphore, time::timeout_at};
use tracing::{info, warn};

use crate::{context::RequestContext, excerpt::cut};

/// Maximum number of pods whose shadow injectors run at once, in the process. For further pods they
/// are skipped, because each keeps the served values in memory.
const MAX_RUNS: usize = 16;

static RUNS: Semaphore = Semaphore::const_new(MAX_RUNS);

/// Starts the calls of one pod; skips them if too many run.
pub(super) fn start(
    run: ShadowRun,
    engine: &Arc<PluginEngine>,
    metrics: &Metrics,
    context: &RequestContext,
    uid: &str,
) {
    let Ok(permit) = RUNS.try_acquire() else {
        let skipped = run.remaining(ShadowResult::Skipped);
        skipped.iter().for_each(|comparison| metrics.compared(comparison));
        return;
    };
    let (engine, metrics, context, uid) = (Arc::clone(engine), metrics.clone(), context.clone(), cut(uid).to_owned());
    tokio::spawn(async move {
        compare_all(run, &engine, &metrics, &context, &uid).await;
        drop((permit, context));
    });
}

async fn compare_all(
    mut run: ShadowRun,
    engine: &PluginEngine,
    metrics: &Metrics,
    context: &RequestContext,
    uid: &str,
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
            warn!(uid, "the shadow injectors did not answer before the deadline");
            planned[done..].iter().for_each(|comparison| metrics.compared(comparison));
            return;
        };
        run = rest;
        metrics.compared(&comparison);
        report(&comparison, uid);
    }
}

/// Logs a difference, without the edits and the names of the secret.
fn report(comparison: &ShadowComparison, uid: &str) {
    let (injector, served, answer) = (comparison.injector.as_str(), comparison.served, comparison.answer);
    match comparison.result {
        ShadowResult::Same | ShadowResult::Skipped | ShadowResult::Denied => {}
        ShadowResult::Different => info!(uid, injector, served, answer, "a shadow injector answers differently"),
        ShadowResult::Failed => warn!(uid, injector, served, answer, "a shadow injector did not answer"),
    }
}
