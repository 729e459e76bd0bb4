//! What the process shows in the console: [`ProcessSource`].
//!
//! `ampoule_console` authenticates and authorizes; this module only reads the state.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use ampoule_admission::{RequestContext, memory::MemoryPool, pipeline::ServingPipeline};
use ampoule_console::{
    CallFigures, ConsoleSource, DryRunResult, LatencyView, OutcomeCount, OverviewView, PluginFiguresView, PluginView,
    PolicyView, RuleView, ShadowView,
};
use ampoule_core::{AdmissionMemory, Pod, PolicyRule, Requester, text};
use ampoule_telemetry::{
    decisions::{DecisionFilter, DecisionLog},
    metrics::{Metrics, PluginFigures},
    readiness::Readiness,
};
use async_trait::async_trait;
use serde_json::Value;
use tracing::info;

use crate::plugins::{LoadedSettings, PluginStates, PluginStatus, SettingsInUse};

/// Time for the injectors of a dry run, as in a review with the usual timeout.
const DRY_RUN: Duration = Duration::from_secs(10);
/// The decisions for the percentiles of the latency.
const LATENCY_DECISIONS: usize = 1000;
/// Bytes of a user's name in the log.
const MAX_USER: usize = 253;
/// The owner of the memory of all dry runs: together, they use at most half of the pool.
const DRY_RUNS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The parts of the process that serve admissions.
pub(crate) struct ProcessState {
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
    pub(crate) states: PluginStates,
    pub(crate) serving: Arc<ServingPipeline>,
    pub(crate) memory: Arc<MemoryPool>,
}

/// The state of the process, as the console shows it.
pub(crate) struct ProcessSource {
    pub(crate) started: Instant,
    pub(crate) settings: LoadedSettings,
    pub(crate) decisions: DecisionLog,
    pub(crate) process: ProcessState,
}

#[async_trait]
impl ConsoleSource for ProcessSource {
    fn overview(&self) -> OverviewView {
        let report = self.process.readiness.report();
        let newest = DecisionFilter { limit: LATENCY_DECISIONS, ..DecisionFilter::default() };
        let admissions = self.process.metrics.admissions().into_iter();
        OverviewView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: report.ready,
            readiness: report.lines.lines().map(str::to_owned).collect(),
            uptime_seconds: self.started.elapsed().as_secs(),
            admissions: admissions
                .map(|(outcome, count)| OutcomeCount { outcome: outcome.as_str().to_owned(), count })
                .collect(),
            latency: LatencyView::of(
                self.decisions.select(&newest).iter().map(|numbered| numbered.decision.micros).collect(),
            ),
            attention: self.process.states.get().iter().flat_map(|status| notes(status, true)).collect(),
        }
    }

    fn plugins(&self) -> Vec<PluginView> {
        let (settings, states) = (self.settings.get(), self.process.states.get());
        let names: Vec<_> = states.iter().map(|status| status.name.as_str()).collect();
        let figures = self.process.metrics.plugin_figures(&names);
        states.iter().zip(figures).map(|(status, figures)| plugin(status, settings.as_deref(), figures)).collect()
    }

    fn configuration(&self) -> Value {
        self.settings.get().map_or_else(|| Value::Object(serde_json::Map::new()), |settings| settings.config.shown())
    }

    fn policy(&self) -> PolicyView {
        let Some(settings) = self.settings.get() else { return PolicyView::default() };
        let shadows = settings.config.injectors.iter().filter(|injector| injector.shadow);
        PolicyView {
            rules: settings.config.policy.iter().map(|rule| self.rule(rule)).collect(),
            shadow_injectors: shadows.map(|injector| self.shadow(&injector.name)).collect(),
        }
    }

    fn memory(&self) -> Arc<dyn AdmissionMemory> {
        self.process.memory.share(DRY_RUNS)
    }

    async fn try_pod(
        &self,
        pod: Pod,
        namespace: &str,
        requester: Requester,
        memory: Arc<dyn AdmissionMemory>,
    ) -> DryRunResult {
        let user = match &requester {
            Requester::User(user) => text::one_line(&user.username, MAX_USER),
            Requester::Unreadable => String::new(),
        };
        let context = RequestContext::with_memory(DRY_RUN, memory);
        let pipeline = self.process.serving.current();
        let judgement = pipeline.decide(pod, namespace, requester, &context).await;
        let outcome = judgement.decision.outcome();
        info!(user, namespace, outcome = outcome.as_str(), "dry run of the console");
        DryRunResult { outcome, decision: judgement.decision.into_result(), requests: judgement.requests }
    }
}

// === impl ProcessSource ===

impl ProcessSource {
    fn rule(&self, rule: &PolicyRule) -> RuleView {
        let figures = self.process.metrics.rule_figures(rule);
        RuleView {
            name: rule.name.clone(),
            when: rule.when.clone(),
            action: rule.action.as_str().to_owned(),
            message: rule.message.clone(),
            shadow: rule.shadow,
            matches: figures.matches,
            errors: figures.errors,
        }
    }

    fn shadow(&self, injector: &str) -> ShadowView {
        let results = self.process.metrics.shadow_figures(injector).into_iter();
        ShadowView {
            injector: injector.to_owned(),
            results: results.map(|(result, count)| (result.as_str().to_owned(), count)).collect(),
        }
    }
}

fn plugin(status: &PluginStatus, settings: Option<&SettingsInUse>, figures: PluginFigures) -> PluginView {
    let serving = status.serving.as_ref();
    let entries = settings.into_iter().flat_map(|settings| &settings.injectors);
    let entry = entries.filter(|_| serving.is_some()).find(|entry| entry.name == status.name);
    PluginView {
        name: status.name.clone(),
        state: status.state.as_str().to_owned(),
        config_map: status.origin.is_some(),
        required: status.required,
        generation: status.generation,
        source: status.source.clone(),
        version: serving.map(|serving| serving.version.clone()),
        digest: serving.map(|serving| serving.digest.clone()),
        signer: serving.and_then(|serving| serving.signer.clone()),
        notes: notes(status, false),
        entry: entry.map(ampoule_config::InjectorConfig::shown),
        figures: figures_view(figures),
    }
}

/// The problem and the warnings of a plugin, on request with its name.
fn notes(status: &PluginStatus, named: bool) -> Vec<String> {
    let warning = status.serving.as_ref().and_then(|serving| serving.warning.clone());
    let notes = [status.problem(), status.shadow_note(), warning].into_iter().flatten();
    notes.map(|note| if named { format!("{}: {note}", status.name) } else { note }).collect()
}

fn figures_view(figures: PluginFigures) -> PluginFiguresView {
    let calls = figures.calls.into_iter().map(|(outcome, count, seconds)| CallFigures {
        outcome: outcome.to_owned(),
        count,
        mean_micros: mean_micros(seconds, count),
    });
    PluginFiguresView {
        calls: calls.collect(),
        guest_seconds: figures.guest_seconds,
        memory_bytes: figures.memory_bytes,
    }
}

/// The mean of this number of calls in microseconds.
fn mean_micros(seconds: f64, calls: u64) -> u64 {
    let calls = u32::try_from(calls).unwrap_or(u32::MAX);
    let total = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    total.checked_div(calls).map_or(0, |mean| u64::try_from(mean.as_micros()).unwrap_or(u64::MAX))
}
