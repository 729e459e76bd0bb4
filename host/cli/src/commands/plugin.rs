//! What an author does with a plugin, from its first file to its figures, and what these commands share.
//!
//! A component is run by the engine that `serve` runs it with, under the limits that are the default there.

mod answer;
mod bench;
mod build;
mod case;
mod given;
mod new;
mod test;
#[cfg(test)]
mod tests;

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use ampoule_engine::{EngineConfig, Limits, LoadError, PluginEngine, PluginInjector};

pub(crate) use self::{bench::plugin_bench, build::plugin_build, new::plugin_new, test::plugin_test};
use self::{case::Case, given::Stage};
use ampoule_components::{
    builtins::{self, Builtins},
    fetch::{Component, ComponentRequest, Fetcher},
};
use ampoule_config::{ComponentSource, RegistriesConfig};

/// The component in a plugin's folder.
const COMPONENT: &str = "plugin.wasm";
/// The cases in a plugin's folder.
const CASES: &str = "cases";

/// Where the component is that was said on the command line: any source, the path of a file, or a plugin's folder, which stands for
/// the component in it.
pub(super) fn source(text: &str, builtins: Builtins) -> anyhow::Result<ComponentSource> {
    let path = Path::new(text);
    match text.split_once(':') {
        _ if path.is_dir() => Ok(ComponentSource::File(path.join(COMPONENT))),
        Some(("builtin" | "file" | "configmap" | "oci", _)) => {
            ComponentSource::parse(text, &builtins::names(builtins)).map_err(anyhow::Error::msg)
        }
        _ => Ok(ComponentSource::File(path.to_owned())),
    }
}

/// A component's bytes, whoever made them.
pub(super) async fn fetch(
    source: &ComponentSource,
    registries: RegistriesConfig,
    builtins: Builtins,
) -> anyhow::Result<Component> {
    let fetcher = Fetcher::trusting(registries, builtins);
    let limit = Limits::default().component_bytes;
    Ok(fetcher.fetch(ComponentRequest { source: source.clone(), limit, sha256: None, signed_by: None }).await?)
}

/// The engine that `serve` has by default, and what a case gives in the place of hosts and a cluster.
struct Workbench {
    engine: PluginEngine,
    stage: Arc<Stage>,
}

// === impl Workbench ===

impl Workbench {
    fn new(cache: Option<PathBuf>) -> anyhow::Result<Self> {
        let stage = Arc::<Stage>::default();
        let (secrets, http) = (Arc::<Stage>::clone(&stage), Arc::<Stage>::clone(&stage));
        let config = EngineConfig { cache_dir: cache, secrets, http: Some(http), ..EngineConfig::default() };
        Ok(Self { engine: PluginEngine::new(config)?, stage })
    }

    /// A component with a case's settings and grants, to be asked before the next is loaded.
    async fn load(
        &self,
        case: &Case,
        source: &ComponentSource,
        component: &Component,
        limits: Limits,
    ) -> Result<PluginInjector, LoadError> {
        self.stage.set(Arc::clone(&case.given));
        self.engine.load(case.plugin(source, component, limits)).await
    }
}

/// Where an author's compiled components are kept, as a JavaScript one takes seconds to compile: `~/.cache/ampoule/compiled`, or what the
/// desktop's rules have in its place; none where there is no home.
fn cache() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(cache.join("ampoule/compiled"))
}
