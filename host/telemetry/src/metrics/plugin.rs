//! What is counted of each plugin: [`PluginFamilies`], and [`PluginMetrics`] of one, which makes a series when there is something to
//! count and looks it up once.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use ampoule_core::FailureKind;
use ampoule_engine::{Call, CallOutcome, Grant, PluginObserver};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::phase::{Phase, Phases};

/// From an instance of a small plugin (20 µs) to the default deadline (200 ms) and beyond.
const CALL_BUCKETS: [f64; 13] =
    [0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.2, 1.0];

const OUTCOMES: usize = CallOutcome::ALL.len();

type Seconds = Counter<f64, AtomicU64>;

/// The families that have a label `plugin` and that calls write to.
#[derive(Clone)]
pub(super) struct PluginFamilies {
    call_duration: Family<CallLabels, Histogram, fn() -> Histogram>,
    traps: Family<TrapLabels, Counter>,
    denied_calls: Family<GrantLabels, Counter>,
    guest_seconds: Family<PluginLabel, Seconds>,
    memory: Family<PluginLabel, Gauge>,
    /// The names of those that there are, loaded or not.
    configured: Arc<Mutex<BTreeSet<String>>>,
}

/// Counts the calls of one plugin.
pub(super) struct PluginMetrics {
    plugin: String,
    families: PluginFamilies,
    phases: Arc<Phases>,
    calls: [OnceLock<Histogram>; OUTCOMES],
    guest_seconds: OnceLock<Seconds>,
    memory: OnceLock<Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabel {
    plugin: String,
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

// === impl PluginFamilies ===

impl PluginFamilies {
    pub(super) fn new() -> Self {
        Self {
            call_duration: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)),
            traps: Family::default(),
            denied_calls: Family::default(),
            guest_seconds: Family::default(),
            memory: Family::default(),
            configured: Arc::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Time of one call of a plugin, its start and its wait for an instance included, in seconds";
        registry.register("plugin_call_duration_seconds", help, self.call_duration.clone());
        registry.register("plugin_traps", "Calls that a plugin did not get to answer, by kind", self.traps.clone());
        let help = "Calls beyond its sandbox that a plugin was refused for want of a grant, by the grant's key";
        registry.register("plugin_denied_calls", help, self.denied_calls.clone());
        let help = "Time in a plugin's own code, in seconds; its rate is the share of a processor that the plugin has";
        registry.register("plugin_guest_seconds", help, self.guest_seconds.clone());
        let help = "The most linear memory that an instance of a plugin had, in bytes";
        registry.register("plugin_memory_high_water_bytes", help, self.memory.clone());
    }

    /// A plugin is configured. Its traps are there before the first, so that an alert sees it.
    pub(super) fn there(&self, plugin: &str) {
        self.configured().insert(plugin.to_owned());
        for kind in FailureKind::ALL {
            drop(self.traps.get_or_create(&TrapLabels { plugin: plugin.to_owned(), kind: kind.as_str() }));
        }
    }

    /// A plugin is configured no longer.
    pub(super) fn gone(&self, plugin: &str) {
        self.configured().remove(plugin);
        self.remove(plugin);
    }

    fn configured(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, plugin: &str) {
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
        self.guest_seconds.remove(&PluginLabel { plugin: plugin() });
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
            memory: OnceLock::new(),
        }
    }

    fn label(&self) -> PluginLabel {
        PluginLabel { plugin: self.plugin.clone() }
    }

    fn count_duration(&self, outcome: CallOutcome, elapsed: Duration) {
        let index = CallOutcome::ALL.iter().position(|known| *known == outcome).expect("all of them are listed");
        let make = || {
            let labels = CallLabels { plugin: self.plugin.clone(), outcome: outcome.as_str() };
            self.families.call_duration.get_or_create_owned(&labels)
        };
        self.calls[index].get_or_init(make).observe(elapsed.as_secs_f64());
    }
}

impl Drop for PluginMetrics {
    /// Takes along what the last calls of a plugin left that was gone by then, and what one left that was tried and never configured.
    fn drop(&mut self) {
        if !self.families.configured().contains(&self.plugin) {
            self.families.remove(&self.plugin);
        }
    }
}

impl PluginObserver for PluginMetrics {
    fn called(&self, call: &Call) {
        let Call { outcome, elapsed, queue, start, guest, host, memory } = call;
        self.count_duration(*outcome, *elapsed);
        self.phases.observe(Phase::Queue, *queue);
        if let Some(start) = start {
            self.phases.observe(Phase::Instantiate, *start);
        }
        self.phases.observe(Phase::Guest, *guest);
        if !host.is_zero() {
            self.phases.observe(Phase::HostCall, *host);
        }
        let seconds = self.guest_seconds.get_or_init(|| self.families.guest_seconds.get_or_create_owned(&self.label()));
        seconds.inc_by(guest.as_secs_f64());
        if let Some(memory) = memory.and_then(|memory| i64::try_from(memory).ok()) {
            let most = self.memory.get_or_init(|| self.families.memory.get_or_create_owned(&self.label()));
            most.inner().fetch_max(memory, std::sync::atomic::Ordering::Relaxed);
        }
        if let CallOutcome::Failed(kind) = outcome {
            let labels = TrapLabels { plugin: self.plugin.clone(), kind: kind.as_str() };
            self.families.traps.get_or_create(&labels).inc();
        }
    }

    fn denied(&self, grant: Grant) {
        let labels = GrantLabels { plugin: self.plugin.clone(), grant: grant.key() };
        self.families.denied_calls.get_or_create(&labels).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_outlives_its_plugin_leaves_nothing_behind() {
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
        drop(trial);
        assert_eq!(lines(), 0, "it was never configured");

        let (first, second) = (plugin(), plugin());
        families.there("one");
        first.denied(Grant::Clock);
        drop(first);
        assert!(lines() > 0, "its successor goes on");
        families.gone("one");
        assert_eq!(lines(), 0);
        second.denied(Grant::Clock);
        assert!(lines() > 0, "a call was under way");
        drop(second);
        assert_eq!(lines(), 0);
    }
}
