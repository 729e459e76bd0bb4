//! Loads the plugins of a document: [`load`].
//!
//! The digest of a component is compared. Its code belongs to an image, like this program, or its
//! digest is compared as well: others can change a ConfigMap of the namespace.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use ampoule_config::{CheckedFetchPlugin, FetchPlugin};
use ampoule_core::{FetchDocument, FetchInjector, NoCluster, Unobserved};
use ampoule_engine::{ComponentBytes, EngineConfig, PluginEngine, PluginInjector, PluginSpec, PortableFolders};

use crate::{error::PodFetchError, withheld_log::WithheldLog};

/// Limit for one call of a plugin. In a pod, no API server waits, so it is longer than that of an
/// admission.
const CALL: Duration = Duration::from_secs(10);
/// Concurrent calls of plugins.
pub(crate) const CALLS: usize = 4;

/// The engine and the plugins, in the order of the document's injectors.
pub(crate) struct LoadedPlugins {
    pub(crate) plugins: Vec<PluginInjector>,
    pub(crate) engine: PluginEngine,
}

/// The folders of the components and their code.
#[derive(Clone, Debug)]
pub(crate) struct ComponentFolders {
    /// Parts of images.
    pub(crate) trusted: Vec<PathBuf>,
    /// ConfigMaps of the namespace.
    pub(crate) shipped: PathBuf,
}

/// Loads the plugin of each injector.
pub(crate) async fn load(document: &FetchDocument, folders: &ComponentFolders) -> Result<LoadedPlugins, PodFetchError> {
    let recipes = document.injectors.iter().map(check).collect::<Result<Vec<_>, _>>()?;
    let pins = recipes.iter().filter_map(|recipe| Some((recipe.component.clone(), recipe.code.clone()?))).collect();
    let ComponentFolders { trusted, shipped } = folders.clone();
    let log = Some(Arc::new(WithheldLog::default()) as _);
    let config = EngineConfig { max_concurrent: CALLS, guest_threads: 1, log, ..EngineConfig::default() };
    let engine = PluginEngine::portable(config, PortableFolders { trusted, shipped, pins })?;
    let mut plugins = Vec::with_capacity(recipes.len());
    for (injector, recipe) in document.injectors.iter().zip(recipes) {
        let spec = spec(&injector.name, recipe, folders)?;
        plugins.push(engine.load(spec).await.map_err(Box::new)?);
    }
    Ok(LoadedPlugins { plugins, engine })
}

fn check(injector: &FetchInjector) -> Result<CheckedFetchPlugin, PodFetchError> {
    let name = &injector.name;
    let plugin: FetchPlugin = serde_json::from_value(injector.plugin.clone())
        .map_err(|error| PodFetchError::Document(format!("is not valid for injector {name}: {error}")))?;
    plugin.check().map_err(|reason| PodFetchError::Plugin { injector: name.clone(), reason })
}

fn spec(name: &str, plugin: CheckedFetchPlugin, folders: &ComponentFolders) -> Result<PluginSpec, PodFetchError> {
    let ca = plugin.ca.as_deref().map(str::as_bytes);
    let grants = ampoule_grants::resolve(name, &plugin.grants, ca, Arc::new(NoCluster), Arc::new(Unobserved))
        .map_err(|error| PodFetchError::Grants { injector: name.to_owned(), reason: format!("{error:#}") })?;
    let mut limits = plugin.limits;
    limits.deadline = limits.deadline.max(CALL);
    let folders = if plugin.code.is_some() { std::slice::from_ref(&folders.shipped) } else { &folders.trusted[..] };
    Ok(PluginSpec {
        name: name.to_owned(),
        source: format!("sha256:{}", plugin.component),
        component: read_component(name, &plugin.component, folders)?,
        settings: plugin.settings,
        conventions: plugin.conventions,
        limits,
        grants,
        value_cache: Default::default(),
        fetch_place: Default::default(),
        strict_grants: false,
    })
}

/// Reads a component from the first folder that has it, and compares its digest.
fn read_component(injector: &str, digest: &str, folders: &[PathBuf]) -> Result<ComponentBytes, PodFetchError> {
    let missing =
        |reason| PodFetchError::Component { injector: injector.to_owned(), digest: digest.to_owned(), reason };
    let path = |folder: &PathBuf| folder.join(digest).with_extension("wasm");
    let found = folders.iter().map(path).find(|path| path.exists());
    let found = found.ok_or_else(|| missing(format!("it is not in {}", names(folders))))?;
    let bytes = fs::read(&found).map_err(|error| missing(format!("{}: {error}", found.display())))?;
    if ampoule_engine::digest(&bytes) != digest {
        return Err(missing(format!("{} has another SHA-256", found.display())));
    }
    Ok(bytes.into())
}

fn names(folders: &[PathBuf]) -> String {
    let names: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    names.join(" or ")
}
