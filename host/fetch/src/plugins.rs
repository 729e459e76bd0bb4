//! Loads the plugins of a document from the components of the image: [`load`].
//!
//! The digest of a component is compared. Its code belongs to the image, like this program.

use std::{fs, path::Path, sync::Arc, time::Duration};

use ampoule_config::FetchPlugin;
use ampoule_core::{FetchDocument, FetchInjector, NoCluster, Unobserved};
use ampoule_engine::{ComponentBytes, EngineConfig, PluginEngine, PluginInjector, PluginSpec};

use crate::error::PodFetchError;

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

/// Loads the plugin of each injector.
pub(crate) async fn load(document: &FetchDocument, components: &Path) -> Result<LoadedPlugins, PodFetchError> {
    let config = EngineConfig { max_concurrent: CALLS, guest_threads: 1, ..EngineConfig::default() };
    let engine = PluginEngine::portable(config, components.to_owned())?;
    let mut plugins = Vec::with_capacity(document.injectors.len());
    for injector in &document.injectors {
        let spec = spec(injector, components)?;
        plugins.push(engine.load(spec).await.map_err(Box::new)?);
    }
    Ok(LoadedPlugins { plugins, engine })
}

fn spec(injector: &FetchInjector, components: &Path) -> Result<PluginSpec, PodFetchError> {
    let name = &injector.name;
    let document: FetchPlugin = serde_json::from_value(injector.plugin.clone())
        .map_err(|error| PodFetchError::Document(format!("is not valid for injector {name}: {error}")))?;
    let plugin = document.check().map_err(|reason| PodFetchError::Plugin { injector: name.clone(), reason })?;
    let ca = plugin.ca.as_deref().map(str::as_bytes);
    let grants = ampoule_grants::resolve(name, &plugin.grants, ca, Arc::new(NoCluster), Arc::new(Unobserved))
        .map_err(|error| PodFetchError::Grants { injector: name.clone(), reason: format!("{error:#}") })?;
    let mut limits = plugin.limits;
    limits.deadline = limits.deadline.max(CALL);
    Ok(PluginSpec {
        name: name.clone(),
        source: format!("sha256:{}", plugin.component),
        component: read_component(name, &plugin.component, components)?,
        settings: plugin.settings,
        conventions: plugin.conventions,
        limits,
        grants,
        value_cache: Default::default(),
        fetch_place: Default::default(),
        strict_grants: false,
    })
}

/// Reads a component, and compares its digest.
fn read_component(injector: &str, digest: &str, components: &Path) -> Result<ComponentBytes, PodFetchError> {
    let path = components.join(digest).with_extension("wasm");
    let missing =
        |reason| PodFetchError::Component { injector: injector.to_owned(), digest: digest.to_owned(), reason };
    let bytes = fs::read(&path).map_err(missing)?;
    if ampoule_engine::digest(&bytes) != digest {
        return Err(missing(std::io::Error::other("its file has another SHA-256")));
    }
    Ok(bytes.into())
}
