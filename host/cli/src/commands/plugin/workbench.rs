//! The engine of `plugin test` and `plugin bench`: [`Workbench`].
//!
//! It has the defaults of `serve`, and a case's answers in place of HTTP hosts and a cluster.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use ampoule_engine::{EngineConfig, Limits, LoadError, PluginEngine, PluginInjector};

use super::{case::Case, given::GivenServices};
use ampoule_components::fetch::Component;
use ampoule_config::ComponentSource;

/// An engine with the services of the current case.
pub(super) struct Workbench {
    pub(super) engine: PluginEngine,
    services: Arc<GivenServices>,
}

// === impl Workbench ===

impl Workbench {
    pub(super) fn new(cache_dir: Option<PathBuf>) -> anyhow::Result<Self> {
        let services = Arc::<GivenServices>::default();
        let config = EngineConfig {
            cache_dir,
            secrets: Arc::<GivenServices>::clone(&services),
            http: Some(Arc::<GivenServices>::clone(&services)),
            ..EngineConfig::default()
        };
        Ok(Self { engine: PluginEngine::new(config)?, services })
    }

    /// Loads a component with the settings, grants and services of a case. The services of the last
    /// loaded case are in effect.
    pub(super) async fn load(
        &self,
        case: &Case,
        source: &ComponentSource,
        component: &Component,
        limits: Limits,
    ) -> Result<PluginInjector, LoadError> {
        self.services.set(Arc::clone(&case.given));
        self.engine.load(case.plugin(source, component, limits)).await
    }
}

/// The cache directory for compiled components: `ampoule/compiled` in `$XDG_CACHE_HOME` or
/// `~/.cache`. `None` without a home directory.
///
/// Compiling a JavaScript component takes seconds.
pub(super) fn compile_cache() -> Option<PathBuf> {
    let cache = absolute_path("XDG_CACHE_HOME").or_else(|| Some(absolute_path("HOME")?.join(".cache")))?;
    Some(cache.join("ampoule/compiled"))
}

fn absolute_path(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| Path::is_absolute(path))
}
