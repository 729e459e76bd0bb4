//! Builds pipelines from the configuration and its components: [`Loader`].
//!
//! A new pipeline reuses the engine if its settings are unchanged, and a plugin if all its inputs
//! are unchanged. If a plugin does not load, its predecessor stays in use (`slot`).

#[cfg(test)]
mod flyte_settings;
mod missing_plugin;
mod recipe;
mod references_only;
mod slot;
mod status;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Instant};

use ampoule_core::{PodMutator, SecretInjector};
use ampoule_engine::{CallObserver, Compiler, EngineConfig, PluginEngine};

pub use self::status::{PluginStates, PluginStatus, ServingPlugin};
use self::{
    recipe::LoadedPlugin,
    references_only::ReferencesOnly,
    slot::{PluginSlot, SlotFiller},
};

use crate::compiler::ChildCompiler;
use ampoule_admission::{global_secrets::GlobalSecrets, pipeline::Pipeline};
use ampoule_cluster::ClusterReader;
use ampoule_components::{Components, FetchedInjector, builtins::Builtins};
use ampoule_config::{Config, EngineSettings, values_remedy};
use ampoule_telemetry::{
    metrics::{Metrics, PluginLabels},
    plugin_state::PluginState,
    trace::Traces,
};

/// A pipeline and the states of its plugins.
pub struct LoadedPipeline {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The plugins of the chain in their order, followed by plugins that are not in the chain.
    pub plugins: Vec<PluginStatus>,
}

/// Builds one pipeline after the other.
pub struct Loader {
    components: Components,
    metrics: Metrics,
    traces: Traces,
    /// Creates the compiler for components that are not built in.
    new_compiler: NewCompiler,
    /// Whether an answer may contain a value.
    values: bool,
    /// The parts of the last pipeline.
    last: Option<PipelineParts>,
}

/// Creates a compiler with a memory limit in MiB. `None` compiles in this process.
type NewCompiler = fn(u64) -> Option<Arc<dyn Compiler>>;

/// The parts of a pipeline that the next one can reuse.
struct PipelineParts {
    settings: EngineSettings,
    /// The number of concurrent instances that the engine supports.
    instances: usize,
    engine: Arc<PluginEngine>,
    slots: Vec<PluginSlot>,
}

// === impl Loader ===

impl Loader {
    /// Creates a loader that has loaded nothing yet.
    pub fn new(builtins: Builtins, metrics: Metrics) -> Self {
        let components = Components::new(builtins);
        Self { components, metrics, traces: Traces::default(), new_compiler: child_compiler, values: true, last: None }
    }

    /// Records calls of plugins in traces as well.
    #[must_use]
    pub fn with_traces(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Refuses plugins that read values, and answers with a value.
    #[must_use]
    pub fn without_values(self) -> Self {
        Self { values: false, ..self }
    }

    /// Loads every configured plugin from the current content of its source, and builds their
    /// chain. If a plugin does not load, its predecessor stays in use; without a predecessor,
    /// requests to the plugin fail.
    ///
    /// # Errors
    ///
    /// A required plugin without a predecessor does not load. The parts of the last pipeline remain
    /// available for reuse.
    pub async fn load(&mut self, config: &Config) -> anyhow::Result<LoadedPipeline> {
        let start = Instant::now();
        let loaded = self.build(config).await;
        self.metrics.config_loaded(start.elapsed());
        loaded
    }

    async fn build(&mut self, config: &Config) -> anyhow::Result<LoadedPipeline> {
        let offers = self.components.fetch(config).await?;
        let (ignored, mut offers): (Vec<_>, Vec<_>) = offers.into_iter().partition(|offer| offer.is_ignored(config));
        if !self.values {
            refuse_readers(&mut offers);
        }
        let instances = allot_instances(&config.engine, &mut offers);
        let (engine, instances) = self.engine(&config.engine, instances)?;
        let filler = SlotFiller {
            engine: &engine,
            conventions: &config.conventions,
            trust: &config.trust,
            last: self.last.as_ref(),
        };
        let mut slots = Vec::new();
        for offer in offers {
            let slot = filler.fill(offer).await;
            if slot.status.required && slot.status.state == PluginState::Failed {
                return Err(anyhow::Error::msg(slot.status.error.unwrap_or_default()));
            }
            slots.push(slot);
        }
        let pipeline = self.chain(config, &slots, &engine);
        let parts = PipelineParts { settings: config.engine.clone(), instances, engine, slots };
        self.update_metrics(&parts);
        let chained = parts.slots.iter().map(|slot| slot.status.clone());
        let plugins = chained.chain(ignored.into_iter().map(PluginStatus::ignored)).collect();
        self.last = Some(parts);
        Ok(LoadedPipeline { pipeline, plugins })
    }

    /// Waits until the content of a source differs from that of the last [`Loader::load`]. Cancel
    /// safe.
    pub async fn changed(&mut self) {
        self.components.changed().await;
    }

    /// Returns the last engine if it has the same settings and enough instances, otherwise a new
    /// engine; with the number of instances that it supports.
    fn engine(&self, settings: &EngineSettings, instances: usize) -> anyhow::Result<(Arc<PluginEngine>, usize)> {
        if let Some(last) = &self.last
            && last.settings == *settings
            && last.instances >= instances
        {
            return Ok((Arc::clone(&last.engine), last.instances));
        }
        let settings = EngineSettings { max_concurrent: Some(instances), ..settings.clone() };
        let observer = self.traces.observe(Arc::new(self.metrics.clone()));
        Ok((build_engine(settings, observer, self.new_compiler)?, instances))
    }

    /// Builds the pipeline: global secrets first, then the plugins.
    fn chain(&self, config: &Config, slots: &[PluginSlot], engine: &Arc<PluginEngine>) -> Pipeline {
        let mut chain: Vec<Arc<dyn SecretInjector>> = Vec::new();
        if let Some(global) = &config.global_secrets {
            let environment =
                std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
            chain.push(Arc::new(GlobalSecrets::new(global, &config.conventions.env_prefix, environment)));
        }
        chain.extend(slots.iter().map(PluginSlot::injector).map(|injector| self.restrict(injector)));
        let mutator = PodMutator::new(chain, config.conventions.clone());
        Pipeline::new(Arc::clone(engine), mutator, self.metrics.clone())
            .with_on_failure(config.on_failure)
            .with_audit(config.audit)
    }

    /// Denies the injector's answers with values unless they are allowed.
    fn restrict(&self, injector: Arc<dyn SecretInjector>) -> Arc<dyn SecretInjector> {
        if self.values { injector } else { Arc::new(ReferencesOnly(injector)) }
    }

    /// Adds the series of the plugins in use and removes those of all others.
    fn update_metrics(&self, parts: &PipelineParts) {
        let labels = parts.labels();
        for before in self.last.iter().flat_map(PipelineParts::labels) {
            if !labels.contains(&before) {
                self.metrics.unloaded(&before);
            }
        }
        labels.iter().for_each(|plugin| self.metrics.loaded(plugin));
        for before in self.last.iter().flat_map(|last| &last.slots) {
            if !parts.slots.iter().any(|slot| slot.status.name == before.status.name) {
                self.metrics.plugin_gone(&before.status.name);
            }
        }
        parts.slots.iter().for_each(|slot| self.metrics.plugin_state(&slot.status.name, slot.status.state));
    }
}

// === impl PipelineParts ===

impl PipelineParts {
    fn labels(&self) -> Vec<PluginLabels> {
        self.slots.iter().filter_map(|slot| slot.serving.as_ref()).map(LoadedPlugin::labels).collect()
    }
}

/// Rejects plugins of ConfigMaps with a grant that reads. The check of the configuration rejects all
/// others.
fn refuse_readers(offers: &mut [FetchedInjector]) {
    for offer in offers {
        let Some(grant) = offer.config.as_ref().and_then(|config| config.grants.first_that_reads()) else { continue };
        offer.config = None;
        offer.component = Err(anyhow::anyhow!("injector {}: grants.{grant} {}", offer.name, values_remedy()));
    }
}

/// Returns the number of instances that the engine needs, so that every plugin can use all its
/// instances at once and no plugin takes those of another. If `engine.maxConcurrent` is lower,
/// plugins of ConfigMaps that exceed it are rejected: plugins of the configuration take precedence,
/// and the configuration check ensures that they fit.
fn allot_instances(settings: &EngineSettings, offers: &mut [FetchedInjector]) -> usize {
    let mut total = 0;
    let (configured, from_config_maps): (Vec<_>, Vec<_>) = offers.iter_mut().partition(|offer| offer.origin.is_none());
    for offer in configured.into_iter().chain(from_config_maps) {
        let with = total + offer.config.as_ref().map_or(0, |config| config.limits.instances);
        match settings.max_concurrent.filter(|most| with > *most) {
            None => total = with,
            Some(most) => {
                let reason = format!(
                    "engine.maxConcurrent: {most} is less than the {with} of all injectors together (limits.instances)"
                );
                offer.config = None;
                offer.component = Err(anyhow::anyhow!("injector {}: {reason}", offer.name));
            }
        }
    }
    // In steps, so that few changes need a new engine.
    let step = EngineConfig::default().max_concurrent;
    settings.max_concurrent.unwrap_or_else(|| total.max(1).next_multiple_of(step))
}

/// Builds an engine with these settings.
///
/// # Errors
///
/// The engine cannot be created, for example because its cache directory is not private.
pub fn engine(settings: EngineSettings, metrics: &Metrics) -> anyhow::Result<Arc<PluginEngine>> {
    build_engine(settings, Arc::new(metrics.clone()), child_compiler)
}

fn child_compiler(memory_limit_mib: u64) -> Option<Arc<dyn Compiler>> {
    Some(Arc::new(ChildCompiler::new(memory_limit_mib)))
}

fn build_engine(
    settings: EngineSettings,
    observer: Arc<dyn CallObserver>,
    new_compiler: NewCompiler,
) -> anyhow::Result<Arc<PluginEngine>> {
    let default = EngineConfig::default();
    let config = EngineConfig {
        cache_dir: settings.cache_directory,
        compiler: new_compiler(settings.compile_memory_mib),
        max_concurrent: settings.max_concurrent.unwrap_or(default.max_concurrent),
        guest_threads: settings.guest_threads.unwrap_or(default.guest_threads),
        observer,
        resolver: default.resolver,
        secrets: Arc::new(ClusterReader::default()),
        http: default.http,
    };
    Ok(Arc::new(PluginEngine::new(config)?))
}
