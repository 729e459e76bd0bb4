//! Builds pipelines from the configuration and its components: [`Loader`].
//!
//! A new pipeline reuses the engine if its settings are unchanged, and a plugin if all its inputs
//! are unchanged. If a plugin does not load, its predecessor stays in use (`slot`).

mod answer_check;
mod compile_queue;
#[cfg(test)]
mod flyte_settings;
mod instances;
mod kept_values;
mod load_tasks;
mod loaded_settings;
mod missing_plugin;
mod new_engine;
mod pending_load;
mod pod_component;
mod public_reason;
mod recipe;
mod reduction;
mod refuse_unsafe;
mod slot;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ampoule_core::{DeliveryStore, InjectorFacts, NoDelivery, PodMutator, SecretInjector, ShadowInjector};
use ampoule_engine::PluginEngine;
use anyhow::Context as _;

pub use self::{
    answer_check::{AnswerCheck, CheckedInjector},
    kept_values::KeptValues,
    loaded_settings::{LoadedSettings, SettingsInUse},
    new_engine::engine,
    status::{PluginStates, PluginStatus, ServingPlugin},
};
use self::{
    instances::{LoweredInstances, allot_instances},
    load_tasks::PlannedLoad,
    new_engine::{NewCompiler, build_engine, child_compiler},
    pending_load::{FilledResult, LoadStep, PendingLoad},
    recipe::LoadedPlugin,
    refuse_unsafe::refuse_unsafe,
    slot::{PluginSlot, SlotFiller},
};

use crate::policy;
use ampoule_admission::{global_secrets::GlobalSecrets, pipeline::Pipeline};
use ampoule_components::{Components, ListedInjector, builtins::Builtins};
use ampoule_config::{ClientsConfig, Config, EngineSettings, GLOBAL_INJECTOR};
use ampoule_net::cgroup;
use ampoule_policy::CompiledPolicy;
use ampoule_telemetry::{
    decisions::DecisionLog,
    metrics::{Metrics, PluginLabels},
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
    /// Writes the Secrets that carry values.
    delivery: Arc<dyn DeliveryStore>,
    /// The plugins whose values another program can declare outdated.
    kept_values: KeptValues,
    /// The settings of the last pipeline, for the console.
    settings: LoadedSettings,
    /// The log of decisions; `None` without a console.
    decisions: Option<DecisionLog>,
    /// The memory limit of the container in bytes; `None` without a limit.
    memory_limit: Option<u64>,
    /// The plugins that got fewer instances at the last load.
    lowered: Vec<LoweredInstances>,
    /// The load in progress.
    pending: Option<PendingLoad>,
    /// The parts of the last pipeline.
    last: Option<Arc<PipelineParts>>,
}

/// What a load reports.
pub enum LoaderEvent {
    /// The content of a source differs from that of the last load.
    SourceChanged,
    /// A pipeline that replaces the last one.
    Loaded(Box<LoadedPipeline>),
    /// A required plugin without a predecessor does not load. The load ends.
    Refused(anyhow::Error),
    /// Every plugin was tried. The load ends.
    Done,
}

/// The parts of a pipeline that the next one can reuse.
#[derive(Clone)]
struct PipelineParts {
    config: Arc<Config>,
    /// The number of concurrent instances that the engine supports.
    instances: usize,
    engine: Arc<PluginEngine>,
    /// The compiled rules; `None` without rules.
    policy: Option<Arc<CompiledPolicy>>,
    slots: Vec<PluginSlot>,
    /// The plugins that are not in the chain.
    ignored: Vec<PluginStatus>,
}

// === impl Loader ===

impl Loader {
    /// Creates a loader that has loaded nothing yet.
    pub fn new(builtins: Builtins, metrics: Metrics) -> Self {
        let components = Components::new(builtins);
        Self {
            components,
            metrics,
            traces: Traces::default(),
            new_compiler: child_compiler,
            values: true,
            delivery: Arc::new(NoDelivery),
            kept_values: KeptValues::default(),
            settings: LoadedSettings::default(),
            decisions: None,
            memory_limit: None,
            lowered: Vec::new(),
            pending: None,
            last: None,
        }
    }

    /// Records calls of plugins in traces as well.
    #[must_use]
    pub fn with_traces(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Compiles all components in this process, without the limits of a child process. For tests of
    /// other programs, which have no command `compile`.
    #[must_use]
    pub fn in_process(self) -> Self {
        Self { new_compiler: |_| None, ..self }
    }

    /// Keeps the memory of all instances below half of this limit in bytes.
    #[must_use]
    pub fn with_memory_limit(self, memory_limit: Option<u64>) -> Self {
        Self { memory_limit, ..self }
    }

    /// Adapts to the memory limit of this process, and to the clients that may send reviews.
    #[must_use]
    pub fn for_process(self, clients: &ClientsConfig) -> Self {
        let loader = self.with_memory_limit(cgroup::memory_limit());
        if clients.allow_values() { loader } else { loader.without_values() }
    }

    /// Refuses plugins that read values, and answers with a value.
    #[must_use]
    pub fn without_values(self) -> Self {
        Self { values: false, ..self }
    }

    /// Writes the Secrets that carry values to this store. Without it, nothing is written.
    #[must_use]
    pub fn with_delivery(self, delivery: Arc<dyn DeliveryStore>) -> Self {
        Self { delivery, ..self }
    }

    /// Reports the settings of each pipeline to the console, and its decisions.
    #[must_use]
    pub fn with_console(self, settings: LoadedSettings, decisions: DecisionLog) -> Self {
        Self { settings, decisions: Some(decisions), ..self }
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
        self.begin(config).await?;
        let mut last = None;
        loop {
            match self.next_step().await {
                LoaderEvent::Loaded(loaded) => last = Some(*loaded),
                LoaderEvent::Refused(error) => return Err(error),
                LoaderEvent::SourceChanged => {}
                LoaderEvent::Done => break,
            }
        }
        last.context("a load ends with a pipeline or an error")
    }

    /// Starts to load every configured plugin in the background. [`Loader::next`] reports the
    /// pipelines: the first one when the required plugins are loaded, and another one for each of
    /// the other plugins. A load in progress is superseded; plugins whose inputs are the same
    /// continue.
    ///
    /// # Errors
    ///
    /// A policy rule does not compile, the ConfigMaps with injectors cannot be listed, or there is
    /// no engine.
    pub async fn begin(&mut self, config: &Config) -> anyhow::Result<()> {
        let superseded = self.pending.take();
        let policy = policy::compile(config)?;
        let listed = self.components.list(config).await?;
        let fetcher = self.components.follow(config, &listed).await;
        let (ignored, mut listed): (Vec<_>, Vec<_>) = listed.into_iter().partition(|one| one.is_ignored(config));
        if !self.values {
            refuse_unsafe(&mut listed, config);
        }
        let allotment = allot_instances(config, self.memory_limit, &mut listed);
        self.report_lowered(allotment.lowered);
        let (engine, instances) = self.engine(superseded.as_ref(), &config.engine, allotment.instances)?;
        let filler = SlotFiller {
            engine: Arc::clone(&engine),
            conventions: config.conventions.clone(),
            strict_grants: config.strict_grants,
            pod_components: config.delivery.pod.components.clone(),
            trust: config.trust.clone(),
            config_map_credentials: config.config_map_credentials.clone(),
            last: self.last.clone(),
        };
        let plan = listed.into_iter().map(|injector| self.plan(config, injector)).collect();
        let parts = PipelineParts {
            config: Arc::new(config.clone()),
            instances,
            engine,
            policy,
            slots: Vec::new(),
            ignored: ignored.into_iter().map(PluginStatus::ignored).collect(),
        };
        self.pending = Some(PendingLoad::start(fetcher, filler, plan, parts, superseded));
        Ok(())
    }

    fn plan(&self, config: &Config, injector: ListedInjector) -> PlannedLoad {
        // Not by the injector's own configuration, which may be refused.
        let is_required = injector.origin.is_none()
            && config.injectors.iter().any(|configured| configured.required && configured.name == injector.name);
        PlannedLoad { source: self.components.source_version(&injector), is_required, injector }
    }

    /// Returns the pipeline that serves, without what a new configuration removes: injectors,
    /// grants, keys and global secrets. `None` if it removes nothing. Sends no request, and
    /// compiles nothing.
    pub fn reduce(&mut self, config: &Config) -> Option<LoadedPipeline> {
        let listed = self.components.list_known(config);
        if let Some(pending) = &mut self.pending {
            pending.revoke(config, &listed);
        }
        let reduced = reduction::reduce(self.last.as_ref()?, config, &listed)?;
        Some(self.install(reduced))
    }

    /// Whether plugins are being loaded.
    pub fn is_loading(&self) -> bool {
        self.pending.is_some()
    }

    /// Waits for the next result of [`Loader::begin`], or until the content of a source differs
    /// from that of the last load. Cancel safe.
    pub async fn next(&mut self) -> LoaderEvent {
        loop {
            let filled = tokio::select! {
                () = self.components.changed() => return LoaderEvent::SourceChanged,
                filled = wait(self.pending.as_mut()) => filled,
            };
            if let Some(event) = self.advance(filled) {
                return event;
            }
        }
    }

    /// Waits for the next result of [`Loader::begin`]. Cancel safe.
    pub(crate) async fn next_step(&mut self) -> LoaderEvent {
        loop {
            let filled = wait(self.pending.as_mut()).await;
            if let Some(event) = self.advance(filled) {
                return event;
            }
        }
    }

    fn advance(&mut self, filled: FilledResult) -> Option<LoaderEvent> {
        let filled = filled.map(|result| {
            result.map(|(filled, record)| {
                self.components.record(record);
                filled
            })
        });
        let pending = self.pending.as_mut()?;
        match pending.advance(filled)? {
            LoadStep::Pipeline(parts) => Some(LoaderEvent::Loaded(Box::new(self.install(parts)))),
            LoadStep::Refused(error) => {
                self.end_load();
                Some(LoaderEvent::Refused(error))
            }
            LoadStep::Done => {
                self.end_load();
                Some(LoaderEvent::Done)
            }
        }
    }

    fn end_load(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.metrics.config_loaded(pending.started.elapsed());
        }
    }

    /// Builds the pipeline of these parts, and reuses them for the next one.
    fn install(&mut self, parts: PipelineParts) -> LoadedPipeline {
        let pipeline = self.chain(&parts);
        self.update_metrics(&parts);
        self.kept_values.set(parts.slots.iter().filter_map(PluginSlot::values).collect());
        let chained = slot::states(&parts.slots, &parts.config);
        let plugins = chained.chain(parts.ignored.iter().cloned()).collect();
        if self.decisions.is_some() {
            let serving = parts.slots.iter().filter_map(|slot| slot.serving.as_ref());
            let injectors = serving.map(|loaded| loaded.recipe.config.clone()).collect();
            self.settings.set(SettingsInUse { config: Arc::clone(&parts.config), injectors });
        }
        self.last = Some(Arc::new(parts));
        LoadedPipeline { pipeline, plugins }
    }

    /// Logs the plugins that get fewer instances than configured, if they differ from the last
    /// ones.
    fn report_lowered(&mut self, lowered: Vec<LoweredInstances>) {
        if lowered != self.lowered {
            lowered.iter().for_each(LoweredInstances::log);
            self.lowered = lowered;
        }
    }

    /// Returns the engine of the superseded load, or the last one, if it has the same settings and
    /// enough instances, otherwise a new engine; with the number of instances that it supports.
    fn engine(
        &self,
        superseded: Option<&PendingLoad>,
        settings: &EngineSettings,
        instances: usize,
    ) -> anyhow::Result<(Arc<PluginEngine>, usize)> {
        let is_usable = |load: &&PendingLoad| load.config().engine == *settings && load.engine().1 >= instances;
        if let Some(superseded) = superseded.filter(is_usable) {
            let (engine, supported) = superseded.engine();
            return Ok((Arc::clone(engine), supported));
        }
        if let Some(last) = &self.last
            && last.config.engine == *settings
            && last.instances >= instances
        {
            return Ok((Arc::clone(&last.engine), last.instances));
        }
        let settings = EngineSettings { max_concurrent: Some(instances), ..settings.clone() };
        let observer = self.traces.observe(Arc::new(self.metrics.clone()));
        Ok((build_engine(settings, observer, self.new_compiler)?, instances))
    }

    /// Builds the pipeline: global secrets first, then the plugins. Shadow injectors are not part
    /// of the chain.
    fn chain(&self, parts: &PipelineParts) -> Pipeline {
        let config = &parts.config;
        let (mut chain, mut facts, mut shadows) = (Vec::new(), Vec::new(), Vec::new());
        let (mut deliveries, mut recipes) = (Vec::new(), Vec::new());
        if let Some(global) = &config.global_secrets {
            let environment =
                std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
            let injector = GlobalSecrets::new(global, &config.conventions, environment);
            chain.push(self.restrict(Arc::new(injector)));
            deliveries.push(global.delivery);
            recipes.push(None);
            facts.push(InjectorFacts { name: GLOBAL_INJECTOR.to_owned(), builtin: true, ..InjectorFacts::unknown() });
        }
        for slot in &parts.slots {
            let injector = self.restrict(slot.injector());
            if slot.is_shadow(config) {
                shadows.push(ShadowInjector { injector, facts: slot.facts() });
                continue;
            }
            chain.push(injector);
            deliveries.push(slot.delivery());
            recipes.push(slot.fetch_recipe());
            facts.push(slot.facts());
        }
        let mut mutator = PodMutator::new(chain, config.conventions.clone())
            .with_limits(config.pods.limits())
            .with_delivery(deliveries, Arc::clone(&self.delivery))
            .with_pod_fetching(config.pod_fetching(recipes))
            .with_missing_secret_warnings(config.pods.warn_missing_secrets)
            .with_shadows(shadows);
        if let Some(policy) = &parts.policy {
            mutator = mutator.with_policy(Arc::clone(policy) as _, facts);
        }
        Pipeline::new(Arc::clone(&parts.engine), mutator, self.metrics.clone())
            .with_on_failure(config.on_failure)
            .with_ephemeral_containers(config.registration.ephemeral_containers)
            .with_audit(config.audit)
            .with_decisions(self.decisions.clone())
    }

    /// Denies the injector's answers with values unless they are allowed. For every injector, also
    /// for those that the check of the configuration should have refused.
    fn restrict(&self, injector: Arc<dyn SecretInjector>) -> Arc<dyn SecretInjector> {
        if self.values {
            return injector;
        }
        Arc::new(CheckedInjector { injector, check: AnswerCheck::ReferencesOnly })
    }

    /// Adds the series of the plugins in use and removes those of all others.
    fn update_metrics(&self, parts: &PipelineParts) {
        let labels = parts.labels();
        for before in self.last.iter().flat_map(|last| last.labels()) {
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
        let previous = self.last.as_ref().map(|last| &last.config);
        self.metrics.policy_loaded(previous.map_or(&[], |config| &config.policy), &parts.config.policy);
        for injector in previous.iter().flat_map(|config| &config.injectors) {
            if injector.shadow && !parts.config.injectors.iter().any(|now| now.shadow && now.name == injector.name) {
                self.metrics.shadow_gone(&injector.name);
            }
        }
        let shadows = parts.config.injectors.iter().filter(|injector| injector.shadow);
        shadows.for_each(|injector| self.metrics.shadow_loaded(&injector.name));
    }
}

// === impl PipelineParts ===

impl PipelineParts {
    fn labels(&self) -> Vec<PluginLabels> {
        self.slots.iter().filter_map(|slot| slot.serving.as_ref()).map(LoadedPlugin::labels).collect()
    }
}

/// Waits for a plugin of a pending load. Never ends without one.
async fn wait(pending: Option<&mut PendingLoad>) -> FilledResult {
    match pending {
        Some(pending) => pending.wait().await,
        None => std::future::pending().await,
    }
}
