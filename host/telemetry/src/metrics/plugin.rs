//! Metrics of plugin calls: [`PluginFamilies`] of all plugins, and [`PluginMetrics`] of one plugin.
//!
//! A series is created by its first observation, and looked up only once.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ampoule_core::{Call, CallOutcome, CredentialError, FailureKind, Grant, PluginObserver, ValueOrigin};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::phase::{Phase, Phases};

/// From a call of a small plugin (20 µs) to beyond the default deadline (200 ms).
const CALL_BUCKETS: [f64; 13] =
    [0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.2, 1.0];

const OUTCOMES: usize = CallOutcome::ALL.len();

/// The name of the histogram of calls in the text of all metrics.
const CALL_DURATION: &str = "ampoule_plugin_call_duration_seconds";

/// The result of a successful login.
const LOGGED_IN: &str = "done";

type Seconds = Counter<f64, AtomicU64>;

/// The metric families with a `plugin` label that calls update.
#[derive(Clone)]
pub(super) struct PluginFamilies {
    call_duration: Family<CallLabels, Histogram, fn() -> Histogram>,
    traps: Family<TrapLabels, Counter>,
    denied_calls: Family<GrantLabels, Counter>,
    values: Family<OriginLabels, Counter>,
    logins: Family<LoginLabels, Counter>,
    guest_seconds: Family<PluginLabel, Seconds>,
    reused: Family<PluginLabel, Counter>,
    memory: Family<PluginLabel, Gauge>,
    /// Names of the configured plugins, loaded or not.
    configured: Arc<Mutex<BTreeSet<String>>>,
}

/// Counts the calls of one plugin.
pub(super) struct PluginMetrics {
    plugin: String,
    families: PluginFamilies,
    phases: Arc<Phases>,
    calls: [OnceLock<Histogram>; OUTCOMES],
    guest_seconds: OnceLock<Seconds>,
    reused: OnceLock<Counter>,
    memory: OnceLock<Gauge>,
}

/// The figures of one plugin since it was configured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginFigures {
    /// The number of calls and their seconds together, for each outcome that occurred.
    pub calls: Vec<(&'static str, u64, f64)>,
    /// The seconds in the plugin's own code.
    pub guest_seconds: f64,
    /// The maximum linear memory of an instance, in bytes.
    pub memory_bytes: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabel {
    plugin: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OriginLabels {
    plugin: String,
    origin: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginLabels {
    plugin: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    plugin: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TrapLabels {
    plugin: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GrantLabels {
    plugin: String,
    grant: &'static str,
}

fn login_results() -> impl Iterator<Item = &'static str> {
    CredentialError::ALL.map(CredentialError::as_str).into_iter().chain([LOGGED_IN])
}

// === impl PluginFamilies ===

impl PluginFamilies {
    pub(super) fn new() -> Self {
        Self {
            call_duration: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)),
            traps: Family::default(),
            denied_calls: Family::default(),
            values: Family::default(),
            logins: Family::default(),
            guest_seconds: Family::default(),
            reused: Family::default(),
            memory: Family::default(),
            configured: Arc::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Time of one plugin call, including the wait for an instance and its start, in seconds";
        registry.register("plugin_call_duration_seconds", help, self.call_duration.clone());
        registry.register("plugin_traps", "Plugin calls that ended without a response, by kind", self.traps.clone());
        let help = "Host calls that were refused because the plugin does not have the grant, by key of the grant";
        registry.register("plugin_denied_calls", help, self.denied_calls.clone());
        let help = "Values of promises, by origin; stale: the store is unavailable";
        registry.register("plugin_values", help, self.values.clone());
        let help = "Logins of the webhook to the plugin's store, by result";
        registry.register("plugin_logins", help, self.logins.clone());
        let help = "Time in the plugin's own code and in host functions that do not wait, in seconds; its rate is the \
                    number of CPUs that the plugin uses";
        registry.register("plugin_guest_seconds", help, self.guest_seconds.clone());
        let help = "Answers of an earlier call that were given again without a call of the plugin";
        registry.register("plugin_reused_answers", help, self.reused.clone());
        let help = "Maximum linear memory that an instance of the plugin has used, in bytes";
        registry.register("plugin_memory_high_water_bytes", help, self.memory.clone());
    }

    /// Adds a configured plugin. Its counters of traps and logins start at zero, so that an alert
    /// includes the first one.
    pub(super) fn add(&self, plugin: &str) {
        self.configured().insert(plugin.to_owned());
        for kind in FailureKind::ALL {
            drop(self.traps.get_or_create(&TrapLabels { plugin: plugin.to_owned(), kind: kind.as_str() }));
        }
        for result in login_results() {
            drop(self.logins.get_or_create(&LoginLabels { plugin: plugin.to_owned(), result }));
        }
    }

    /// Reads the series of a plugin, without creating them. `durations` are the samples of the
    /// calls' durations, by their series: a histogram of the library cannot be read.
    pub(super) fn figures(&self, plugin: &str, durations: &HashMap<&str, &str>) -> PluginFigures {
        let label = PluginLabel { plugin: plugin.to_owned() };
        let calls = CallOutcome::ALL.into_iter().map(CallOutcome::as_str).filter_map(|outcome| {
            let labels = format!("{{plugin=\"{plugin}\",outcome=\"{outcome}\"}}");
            let sample = |part: &str| durations.get(format!("{CALL_DURATION}_{part}{labels}").as_str());
            Some((outcome, sample("count")?.parse().ok()?, sample("sum")?.parse().ok()?))
        });
        PluginFigures {
            calls: calls.collect(),
            guest_seconds: self.guest_seconds.get(&label).map_or(0.0, |seconds| seconds.get()),
            memory_bytes: self.memory.get(&label).map_or(0, |memory| memory.get()),
        }
    }

    /// The samples of the calls' durations in the text of all metrics.
    pub(super) fn durations(text: &str) -> HashMap<&str, &str> {
        let lines = text.lines().filter(|line| line.starts_with(CALL_DURATION));
        lines.filter_map(|line| line.rsplit_once(' ')).collect()
    }

    /// Removes a plugin that is no longer configured, with its series.
    pub(super) fn remove(&self, plugin: &str) {
        self.configured().remove(plugin);
        self.remove_series(plugin);
    }

    fn configured(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove_series(&self, plugin: &str) {
        let plugin = || plugin.to_owned();
        for outcome in CallOutcome::ALL {
            self.call_duration.remove(&CallLabels { plugin: plugin(), outcome: outcome.as_str() });
        }
        for kind in FailureKind::ALL {
            self.traps.remove(&TrapLabels { plugin: plugin(), kind: kind.as_str() });
        }
        for grant in Grant::ALL {
            self.denied_calls.remove(&GrantLabels { plugin: plugin(), grant: grant.key() });
        }
        for origin in ValueOrigin::ALL {
            self.values.remove(&OriginLabels { plugin: plugin(), origin: origin.as_str() });
        }
        for result in login_results() {
            self.logins.remove(&LoginLabels { plugin: plugin(), result });
        }
        self.guest_seconds.remove(&PluginLabel { plugin: plugin() });
        self.reused.remove(&PluginLabel { plugin: plugin() });
        self.memory.remove(&PluginLabel { plugin: plugin() });
    }
}

// === impl PluginMetrics ===

impl PluginMetrics {
    pub(super) fn new(plugin: &str, families: PluginFamilies, phases: Arc<Phases>) -> Self {
        Self {
            plugin: plugin.to_owned(),
            families,
            phases,
            calls: [const { OnceLock::new() }; OUTCOMES],
            guest_seconds: OnceLock::new(),
            reused: OnceLock::new(),
            memory: OnceLock::new(),
        }
    }

    fn label(&self) -> PluginLabel {
        PluginLabel { plugin: self.plugin.clone() }
    }

    fn guest_seconds(&self) -> &Seconds {
        self.guest_seconds.get_or_init(|| self.families.guest_seconds.get_or_create_owned(&self.label()))
    }

    fn reused(&self) -> &Counter {
        self.reused.get_or_init(|| self.families.reused.get_or_create_owned(&self.label()))
    }

    fn memory(&self) -> &Gauge {
        self.memory.get_or_init(|| self.families.memory.get_or_create_owned(&self.label()))
    }

    fn count_duration(&self, outcome: CallOutcome, elapsed: Duration) {
        let index = CallOutcome::ALL.iter().position(|known| *known == outcome).expect("ALL lists every outcome");
        let make = || {
            let labels = CallLabels { plugin: self.plugin.clone(), outcome: outcome.as_str() };
            self.families.call_duration.get_or_create_owned(&labels)
        };
        self.calls[index].get_or_init(make).observe(elapsed.as_secs_f64());
    }
}

impl Drop for PluginMetrics {
    /// Removes series that late calls created after the plugin was removed, and series of a plugin
    /// that was tested but never configured.
    fn drop(&mut self) {
        if !self.families.configured().contains(&self.plugin) {
            self.families.remove_series(&self.plugin);
        }
    }
}

impl PluginObserver for PluginMetrics {
    fn called(&self, call: &Call) {
        self.count_duration(call.outcome, call.elapsed);
        if let Some(start) = call.start {
            self.phases.observe(Phase::Instantiate, start);
        }
        if !call.host.is_zero() {
            self.phases.observe(Phase::HostCall, call.host);
        }
        if call.reused {
            self.reused().inc();
        }
        // Without memory and start, no guest ran.
        if !call.reused || call.memory.is_some() || call.start.is_some() {
            self.phases.observe(Phase::Queue, call.queue);
            self.phases.observe(Phase::Guest, call.guest);
            self.guest_seconds().inc_by(call.guest.as_secs_f64());
        }
        if let Some(memory) = call.memory.and_then(|memory| i64::try_from(memory).ok()) {
            self.memory().inner().fetch_max(memory, Ordering::Relaxed);
        }
        if let CallOutcome::Failed(kind) = call.outcome {
            let labels = TrapLabels { plugin: self.plugin.clone(), kind: kind.as_str() };
            self.families.traps.get_or_create(&labels).inc();
        }
    }

    fn denied(&self, grant: Grant) {
        let labels = GrantLabels { plugin: self.plugin.clone(), grant: grant.key() };
        self.families.denied_calls.get_or_create(&labels).inc();
    }

    fn value(&self, origin: ValueOrigin) {
        let labels = OriginLabels { plugin: self.plugin.clone(), origin: origin.as_str() };
        self.families.values.get_or_create(&labels).inc();
    }

    fn login(&self, result: Result<(), CredentialError>) {
        let result = result.map_or_else(CredentialError::as_str, |()| LOGGED_IN);
        self.families.logins.get_or_create(&LoginLabels { plugin: self.plugin.clone(), result }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_outlives_its_plugin_leaves_no_series() {
        let (families, phases) = (PluginFamilies::new(), Arc::new(Phases::new(true)));
        let mut registry = Registry::default();
        families.register(&mut registry);
        let lines = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text.lines().filter(|line| line.contains("plugin=\"one\"")).count()
        };
        let plugin = || PluginMetrics::new("one", families.clone(), Arc::clone(&phases));
        let trial = plugin();
        trial.denied(Grant::Clock);
        assert!(lines() > 0);
        assert_eq!(families.figures("one", &HashMap::new()), PluginFigures::default(), "it was not called");
        drop(trial);
        assert_eq!(lines(), 0, "it was never configured");

        let (first, second) = (plugin(), plugin());
        families.add("one");
        first.denied(Grant::Clock);
        drop(first);
        assert!(lines() > 0, "the second instance still counts");
        families.remove("one");
        assert_eq!(lines(), 0);
        second.denied(Grant::Clock);
        assert!(lines() > 0, "a call was in progress");
        drop(second);
        assert_eq!(lines(), 0);
    }
}
