//! From configuration and components to a pipeline: [`Loader`], which keeps what did not change from one pipeline to the next.
//!
//! The same engine is taken as long as its settings are the same, the same plugin as long as everything is that it is made of. A plugin
//! that does not load takes none away that serves ([`slot`]).

#[cfg(test)]
mod flyte_settings;
mod recipe;
mod slot;
mod stand_in;
mod status;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Instant};

use ampoule_core::{PodMutator, SecretInjector};
use ampoule_engine::{CallObserver, EngineConfig, PluginEngine};

pub use self::status::{PluginStates, PluginStatus, Serving};
use self::{
    recipe::LoadedPlugin,
    slot::{Filler, Slot},
};

use crate::compiler::ChildCompiler;
use ampoule_admission::{global_secrets::GlobalSecrets, pipeline::Pipeline};
use ampoule_cluster::ClusterReader;
use ampoule_components::{Components, Offer, builtins::Builtins};
use ampoule_config::{Config, EngineSettings};
use ampoule_telemetry::{
    metrics::{Metrics, PluginLabels},
    plugin_state::PluginState,
    trace::Traces,
};

/// A pipeline ready to judge, and what it is made of.
pub struct Loaded {
    pub pipeline: Pipeline,
    /// In the chain's order; behind them, those that are not in it.
    pub plugins: Vec<PluginStatus>,
}

/// Makes pipelines, one after the other.
pub struct Loader {
    components: Components,
    metrics: Metrics,
    traces: Traces,
    /// Those of the last pipeline; none before the first.
    last: Option<Parts>,
}

/// What a pipeline shares with the next one.
struct Parts {
    settings: EngineSettings,
    /// That the engine can have at once.
    instances: usize,
    engine: Arc<PluginEngine>,
    slots: Vec<Slot>,
}

// === impl Loader ===

impl Loader {
    pub fn new(builtins: Builtins, metrics: Metrics) -> Self {
        Self { components: Components::new(builtins), metrics, traces: Traces::default(), last: None }
    }

    /// Calls of plugins are told there as well.
    pub fn with_traces(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Loads every configured plugin, of what its source holds now, and chains them. Where one does not load, the one before stays in its
    /// place; where there was none, a stand-in that is unavailable.
    ///
    /// # Errors
    ///
    /// The first plugin that does not load where none was before, if it is required. What was loaded before stays what the next
    /// pipeline is compared with.
    pub async fn load(&mut self, config: &Config) -> anyhow::Result<Loaded> {
        let start = Instant::now();
        let loaded = self.make(config).await;
        self.metrics.config_loaded(start.elapsed());
        loaded
    }

    async fn make(&mut self, config: &Config) -> anyhow::Result<Loaded> {
        let Config {
            conventions,
            on_failure,
            global_secrets,
            engine: settings,
            trust,
            audit,
            injectors: _,
            config_maps: _,
            config_map_limits: _,
            server: _,
            registration: _,
            certificates: _,
            registries: _,
            tracing: _,
        } = config;
        let mut chain: Vec<Arc<dyn SecretInjector>> = Vec::new();
        if let Some(config) = global_secrets {
            let environment =
                std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
            chain.push(Arc::new(GlobalSecrets::new(config, &conventions.env_prefix, environment)));
        }
        let offers = self.components.fetch(config).await?;
        let (ignored, mut offers): (Vec<_>, Vec<_>) = offers.into_iter().partition(|offer| offer.is_ignored(config));
        let last = self.last.as_ref();
        let instances = fit(settings, &mut offers);
        let usable = |last: &&Parts| last.settings == *settings && last.instances >= instances;
        let (engine, instances) = match last.filter(usable) {
            Some(last) => (Arc::clone(&last.engine), last.instances),
            None => {
                let settings = EngineSettings { max_concurrent: Some(instances), ..settings.clone() };
                (observed_engine(settings, self.traces.observe(Arc::new(self.metrics.clone())))?, instances)
            }
        };
        let filler = Filler { engine: &engine, conventions, trust, last };
        let mut slots = Vec::new();
        for offer in offers {
            let slot = filler.fill(offer).await;
            if let PluginStatus { state: PluginState::Failed, required: true, error, .. } = slot.status {
                return Err(anyhow::Error::msg(error.unwrap_or_default()));
            }
            slots.push(slot);
        }
        chain.extend(slots.iter().map(Slot::injector));
        let mutator = PodMutator::new(chain, conventions.clone());
        let pipeline = Pipeline::new(Arc::clone(&engine), mutator, self.metrics.clone())
            .with_on_failure(*on_failure)
            .with_audit(*audit);
        let parts = Parts { settings: settings.clone(), instances, engine, slots };
        self.tell(&parts);
        let serving = parts.slots.iter().map(|slot| slot.status.clone());
        let plugins = serving.chain(ignored.into_iter().map(PluginStatus::ignored)).collect();
        self.last = Some(parts);
        Ok(Loaded { pipeline, plugins })
    }

    /// Waits until a source holds something else than when [`Loader::load`] asked it last. Cancel safe.
    pub async fn changed(&mut self) {
        self.components.changed().await;
    }

    /// Of the plugins that are there now, and no longer of others.
    fn tell(&self, parts: &Parts) {
        let before = || self.last.iter().flat_map(|last| &last.slots);
        let now = parts.labels();
        let gone = self.last.iter().flat_map(Parts::labels).filter(|before| !now.contains(before));
        gone.for_each(|before| self.metrics.unloaded(&before));
        now.iter().for_each(|plugin| self.metrics.loaded(plugin));
        let name = |slot: &Slot| slot.status.name.clone();
        let names: Vec<_> = parts.slots.iter().map(name).collect();
        before().map(name).filter(|name| !names.contains(name)).for_each(|name| self.metrics.plugin_gone(&name));
        parts.slots.iter().for_each(|slot| self.metrics.plugin_state(&slot.status.name, slot.status.state));
    }
}

// === impl Parts ===

impl Parts {
    fn labels(&self) -> Vec<PluginLabels> {
        self.slots.iter().filter_map(|slot| slot.serving.as_ref()).map(LoadedPlugin::labels).collect()
    }
}

/// How many instances an engine needs so that every plugin can have all of its own at once, and none can take another's. Where the
/// configuration gives fewer, ConfigMaps bring along what is not loaded: what the configuration names itself, it has room for.
fn fit(settings: &EngineSettings, offers: &mut [Offer]) -> usize {
    let mut wanted = 0;
    // Those of the configuration first, wherever they stand.
    let (ours, theirs): (Vec<_>, Vec<_>) = offers.iter_mut().partition(|offer| offer.origin.is_none());
    for offer in ours.into_iter().chain(theirs) {
        let with = wanted + offer.config.as_ref().map_or(0, |config| config.limits.instances);
        match settings.max_concurrent.filter(|most| with > *most) {
            None => wanted = with,
            Some(most) => {
                let reason = format!(
                    "engine.maxConcurrent: {most} is less than the {with} of all injectors together (limits.instances)"
                );
                offer.config = None;
                offer.component = Err(anyhow::anyhow!("injector {}: {reason}", offer.name));
            }
        }
    }
    // In steps, so that another engine is needed seldom.
    let usual = EngineConfig::default().max_concurrent;
    settings.max_concurrent.unwrap_or_else(|| wanted.max(1).next_multiple_of(usual))
}

/// An engine as configured.
pub fn engine(settings: EngineSettings, metrics: &Metrics) -> anyhow::Result<Arc<PluginEngine>> {
    observed_engine(settings, Arc::new(metrics.clone()))
}

fn observed_engine(settings: EngineSettings, observer: Arc<dyn CallObserver>) -> anyhow::Result<Arc<PluginEngine>> {
    let EngineSettings { cache_directory, max_concurrent, guest_threads, compile_memory_mib } = settings;
    let default = EngineConfig::default();
    let config = EngineConfig {
        cache_dir: cache_directory,
        compiler: ChildCompiler::new(compile_memory_mib).map(|compiler| Arc::new(compiler) as _),
        max_concurrent: max_concurrent.unwrap_or(default.max_concurrent),
        guest_threads: guest_threads.unwrap_or(default.guest_threads),
        observer,
        resolver: default.resolver,
        secrets: Arc::new(ClusterReader::default()),
        http: default.http,
    };
    Ok(Arc::new(PluginEngine::new(config)?))
}
