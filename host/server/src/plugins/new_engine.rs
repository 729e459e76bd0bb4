//! Creates engines: [`engine`] for commands, and [`build_engine`] for the loader.
//!
//! An engine whose cache of compiled components cannot be used compiles at each start.

use std::sync::Arc;

use ampoule_cluster::ClusterReader;
use ampoule_config::EngineSettings;
use ampoule_engine::{CallObserver, Compiler, EngineConfig, EngineError, PluginEngine};
use ampoule_telemetry::metrics::Metrics;
use tracing::warn;

use crate::compiler::ChildCompiler;

/// Creates a compiler with a memory limit in MiB. `None` compiles in this process.
pub(super) type NewCompiler = fn(u64) -> Option<Arc<dyn Compiler>>;

/// Builds an engine with these settings.
///
/// # Errors
///
/// The engine cannot be created.
pub fn engine(settings: EngineSettings, metrics: &Metrics) -> anyhow::Result<Arc<PluginEngine>> {
    build_engine(settings, Arc::new(metrics.clone()), child_compiler)
}

pub(super) fn child_compiler(memory_limit_mib: u64) -> Option<Arc<dyn Compiler>> {
    Some(Arc::new(ChildCompiler::new(memory_limit_mib)))
}

pub(super) fn build_engine(
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
        log: default.log,
        reuse_answers: settings.reuse_answers,
    };
    let engine = match PluginEngine::new(config.clone()) {
        // Not a reason to serve nothing: without the cache, each start compiles all components.
        Err(error @ EngineError::CacheFolder { .. }) => {
            warn!(%error, "compiled components are not cached");
            PluginEngine::new(EngineConfig { cache_dir: None, ..config })
        }
        result => result,
    };
    Ok(Arc::new(engine?))
}
