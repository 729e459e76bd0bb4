//! From configuration to pipeline: the engine, every configured plugin loaded into it, and the chain that asks them.
//!
//! This is the only place that reads a component's bytes.

use std::{borrow::Cow, sync::Arc};

use ampoule_core::{PodMutator, SecretInjector};
use ampoule_engine::{EngineConfig, PluginEngine, PluginInjector, PluginSpec};
use anyhow::Context as _;
use tracing::info;

use crate::{
    config::{ComponentSource, Config, EngineSettings, InjectorConfig},
    global_secrets::GlobalSecrets,
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

/// Starts an engine, loads every configured plugin and chains them. A plugin that does not load fails the whole.
pub(crate) async fn load(config: Config, builtins: Builtins, metrics: &Metrics) -> anyhow::Result<Loaded> {
    let Config {
        conventions,
        on_failure,
        global_secrets,
        engine,
        injectors,
        server: _,
        registration: _,
        certificates: _,
    } = config;
    let engine = self::engine(engine, metrics)?;
    let mut chain: Vec<Arc<dyn SecretInjector>> = Vec::new();
    if let Some(config) = &global_secrets {
        let environment =
            std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
        chain.push(Arc::new(GlobalSecrets::new(config, &conventions.env_prefix, environment)));
    }
    let mut plugins = Vec::new();
    for InjectorConfig { name, component, settings, limits } in injectors {
        let source = component.to_string();
        let component = read(&component, builtins).with_context(|| format!("injector {name}"))?;
        let conventions = conventions.clone();
        let spec = PluginSpec { name, source, component, settings, conventions, limits };
        let plugin = engine.load(spec).await?;
        plugins.push(announce(&plugin, metrics));
        chain.push(Arc::new(plugin));
    }
    let mutator = PodMutator::new(chain, conventions, on_failure);
    let pipeline = Pipeline::new(engine, mutator, metrics.clone()).with_on_failure(on_failure);
    Ok(Loaded { pipeline, plugins })
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
    };
    Ok(Arc::new(PluginEngine::new(config)?))
}

/// A component's bytes.
pub(crate) fn read(source: &ComponentSource, builtins: Builtins) -> anyhow::Result<Cow<'static, [u8]>> {
    match source {
        ComponentSource::Builtin(name) => {
            let found = builtins.iter().find(|(builtin, _)| builtin == name);
            let (_, component) = found.with_context(|| format!("no built-in plugin {name}"))?;
            Ok(Cow::Borrowed(component))
        }
        ComponentSource::File(path) => {
            let component =
                std::fs::read(path).with_context(|| format!("cannot read the component {}", path.display()))?;
            Ok(Cow::Owned(component))
        }
    }
}

/// The names of the built-in plugins.
pub(crate) fn names(builtins: Builtins) -> Vec<&'static str> {
    builtins.iter().map(|(name, _)| *name).collect()
}

fn announce(plugin: &PluginInjector, metrics: &Metrics) -> PluginLabels {
    let labels = PluginLabels {
        plugin: plugin.name().to_owned(),
        version: plugin.version().to_owned(),
        digest: plugin.digest().to_owned(),
        source: plugin.source().to_owned(),
    };
    let PluginLabels { plugin, version, digest, source } = &labels;
    info!(plugin, version, digest, source, "plugin loaded");
    metrics.loaded(&labels);
    labels
}
