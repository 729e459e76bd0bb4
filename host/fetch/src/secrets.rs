//! [`PodSecrets`]: the secrets of a pod, with the plugins that fetch them. It fetches all values
//! before it writes the first one.

use std::time::Duration;

use ampoule_core::{FetchDocument, VARIABLES_PATH};

use crate::{
    error::PodFetchError,
    fetcher::{Deadline, PodFetcher},
    output::Outputs,
    plugins::{ComponentFolders, LoadedPlugins, load},
};

/// The secrets of a pod, with the plugins that fetch them.
pub(crate) struct PodSecrets<'a> {
    pub(crate) document: &'a FetchDocument,
    loaded: LoadedPlugins,
}

/// The result of a fetch of all values.
pub(crate) struct FetchRound {
    /// Whether a file changed.
    pub(crate) changed: bool,
    /// The time until the first value expires, if the store states it.
    pub(crate) expires_in: Option<Duration>,
}

// === impl PodSecrets ===

impl<'a> PodSecrets<'a> {
    /// Loads the plugins of a document.
    pub(crate) async fn load(document: &'a FetchDocument, folders: &ComponentFolders) -> Result<Self, PodFetchError> {
        Ok(Self { document, loaded: load(document, folders).await? })
    }

    /// Fetches all values, and then writes them.
    pub(crate) async fn fetch(&self, deadline: &Deadline) -> Result<FetchRound, PodFetchError> {
        let mut fetched = Vec::with_capacity(self.loaded.plugins.len());
        for (injector, plugin) in self.document.injectors.iter().zip(&self.loaded.plugins) {
            let fetcher = PodFetcher { engine: &self.loaded.engine, plugin, deadline };
            fetched.extend(fetcher.fetch_all(&injector.values).await?);
        }
        let mut outputs = Outputs::new(VARIABLES_PATH);
        for (value, fetched) in self.document.values().zip(&fetched) {
            match fetched {
                Some(fetched) => outputs.add(value, &fetched.value)?,
                None => outputs.add_absent(value),
            }
        }
        let expires_in = fetched.iter().flatten().filter_map(|fetched| fetched.expires_in).min();
        Ok(FetchRound { changed: outputs.write()?, expires_in })
    }
}
