//! From configuration and components to a pipeline: [`Loader`], which keeps what did not change from one pipeline to the next.
//!
//! The same engine is taken as long as its settings are the same, the same plugin as long as everything is that it is made of.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ampoule_core::{Conventions, PodMutator, SecretInjector};
use ampoule_engine::{EngineConfig, PluginEngine, PluginInjector, PluginSpec};
use anyhow::Context as _;
use tracing::info;

use crate::{
    cluster::ClusterReader,
    components::Components,
    config::{Config, EngineSettings, InjectorConfig},
    fetch::Component,
    global_secrets::GlobalSecrets,
    grants,
    metrics::{Metrics, PluginLabels},
    pipeline::Pipeline,
};

/// The plugins in this program: names and components. The first alone is asked where a configuration names no injectors: what
/// another does to a pod is for an admin to want.
pub type Builtins = &'static [(&'static str, &'static [u8])];

/// A pipeline ready to judge, and what it is made of.
pub(crate) struct Loaded {
    pub(crate) pipeline: Pipeline,
    pub(crate) plugins: Vec<PluginLabels>,
}

/// Makes pipelines, one after the other.
pub(crate) struct Loader {
    components: Components,
    metrics: Metrics,
    /// Those of the last pipeline; none before the first.
    last: Option<Parts>,
}

/// What a pipeline shares with the next one.
struct Parts {
    settings: EngineSettings,
    engine: Arc<PluginEngine>,
    plugins: Vec<LoadedPlugin>,
}

/// A plugin, and all that it was made of.
struct LoadedPlugin {
    config: InjectorConfig,
    conventions: Conventions,
    /// Whose signature was verified when it was fetched last.
    signer: Option<String>,
    plugin: PluginInjector,
}

// === impl Loader ===

impl Loader {
    pub(crate) fn new(builtins: Builtins, metrics: Metrics) -> Self {
        Self { components: Components::new(builtins), metrics, last: None }
    }

    /// Loads every configured plugin, of what its source holds now, and chains them.
    ///
    /// # Errors
    ///
    /// The first plugin that does not load. What was loaded before stays what the next pipeline is compared with.
    pub(crate) async fn load(&mut self, config: &Config) -> anyhow::Result<Loaded> {
        let Config {
            conventions,
            on_failure,
            global_secrets,
            engine: settings,
            injectors,
            server: _,
            registration: _,
            certificates: _,
            trust: _,
            registries: _,
        } = config;
        let mut chain: Vec<Arc<dyn SecretInjector>> = Vec::new();
        if let Some(config) = global_secrets {
            let environment =
                std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
            chain.push(Arc::new(GlobalSecrets::new(config, &conventions.env_prefix, environment)));
        }
        let components = self.components.fetch(config).await;
        let last = self.last.as_ref().filter(|last| last.settings == *settings);
        let engine = match last {
            Some(last) => Arc::clone(&last.engine),
            None => self::engine(settings.clone(), &self.metrics)?,
        };
        let mut plugins = Vec::new();
        for (config, component) in injectors.iter().zip(components) {
            let component = component.with_context(|| format!("injector {}", config.name))?;
            let signer = component.signer.clone();
            let same = last.and_then(|last| last.plugin(config, conventions, &component));
            let plugin = match same {
                Some(plugin) => plugin,
                None => load_plugin(&engine, config, conventions, component).await?,
            };
            chain.push(Arc::new(plugin.clone()));
            plugins.push(LoadedPlugin { config: config.clone(), conventions: conventions.clone(), signer, plugin });
        }
        let mutator = PodMutator::new(chain, conventions.clone(), *on_failure);
        let pipeline = Pipeline::new(Arc::clone(&engine), mutator, self.metrics.clone()).with_on_failure(*on_failure);
        let parts = Parts { settings: settings.clone(), engine, plugins };
        let plugins = parts.labels();
        self.tell(&plugins);
        self.last = Some(parts);
        Ok(Loaded { pipeline, plugins })
    }

    /// Waits until a source holds something else than when [`Loader::load`] asked it last. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        self.components.changed().await;
    }

    /// Of the plugins that are loaded now, and no longer of others.
    fn tell(&self, plugins: &[PluginLabels]) {
        plugins.iter().for_each(|plugin| self.metrics.loaded(plugin));
        let gone = self.last.iter().flat_map(Parts::labels).filter(|before| !plugins.contains(before));
        gone.for_each(|before| self.metrics.unloaded(&before));
    }
}

// === impl Parts ===

impl Parts {
    /// The plugin that loading this would give.
    fn plugin(
        &self,
        config: &InjectorConfig,
        conventions: &Conventions,
        component: &Component,
    ) -> Option<PluginInjector> {
        let same = |loaded: &&LoadedPlugin| {
            loaded.config == *config && loaded.conventions == *conventions && loaded.plugin.digest() == component.digest
        };
        self.plugins.iter().find(same).map(|loaded| loaded.plugin.clone())
    }

    fn labels(&self) -> Vec<PluginLabels> {
        self.plugins.iter().map(|loaded| labels(&loaded.plugin, loaded.signer.as_deref())).collect()
    }
}

/// An engine as configured.
pub(crate) fn engine(settings: EngineSettings, metrics: &Metrics) -> anyhow::Result<Arc<PluginEngine>> {
    let EngineSettings { cache_directory, max_concurrent, guest_threads } = settings;
    let default = EngineConfig::default();
    let config = EngineConfig {
        cache_dir: cache_directory,
        max_concurrent: max_concurrent.unwrap_or(default.max_concurrent),
        guest_threads: guest_threads.unwrap_or(default.guest_threads),
        observer: Arc::new(metrics.clone()),
        resolver: default.resolver,
        secrets: Arc::new(ClusterReader::default()),
    };
    Ok(Arc::new(PluginEngine::new(config)?))
}

/// The names of the built-in plugins.
pub(crate) fn names(builtins: Builtins) -> Vec<&'static str> {
    builtins.iter().map(|(name, _)| *name).collect()
}

async fn load_plugin(
    engine: &PluginEngine,
    config: &InjectorConfig,
    conventions: &Conventions,
    component: Component,
) -> anyhow::Result<PluginInjector> {
    let InjectorConfig { name, component: source, sha256: _, signed_by: _, settings, limits, grants } = config.clone();
    let grants = grants::resolve(&grants).with_context(|| format!("injector {name}"))?;
    let spec = PluginSpec {
        name,
        source: source.to_string(),
        component: component.bytes,
        settings,
        conventions: conventions.clone(),
        limits,
        grants,
    };
    let plugin = engine.load(spec).await?;
    let PluginLabels { plugin: name, version, digest, source, signer } = labels(&plugin, component.signer.as_deref());
    info!(plugin = name, version, digest, source, signer, "plugin loaded");
    Ok(plugin)
}

fn labels(plugin: &PluginInjector, signer: Option<&str>) -> PluginLabels {
    PluginLabels {
        plugin: plugin.name().to_owned(),
        version: plugin.version().to_owned(),
        digest: plugin.digest().to_owned(),
        source: plugin.source().to_owned(),
        signer: signer.unwrap_or_default().to_owned(),
    }
}
