//! The components that are loaded, followed: [`Components`] gives their bytes, and tells when one that was asked for holds others.
//!
//! How one is had, and whether it may be loaded, is [`crate::fetch`]'s business. What is followed is a file, of any source of that kind.

mod files;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use tokio::task::spawn_blocking;

use self::files::Digests;
use crate::{
    config::{ComponentSource, Config},
    fetch::{Component, FetchError, Fetcher},
    plugins::Builtins,
    watch::Watch,
};

/// The components that somebody asked for.
pub(crate) struct Components {
    builtins: Builtins,
    files: Watch<BTreeMap<PathBuf, Result<String, String>>>,
}

// === impl Components ===

impl Components {
    /// Follows nothing yet.
    pub(crate) fn new(builtins: Builtins) -> Self {
        Self { builtins, files: Watch::new(BTreeMap::new(), BTreeMap::new) }
    }

    /// What each injector's source holds now, in their order. These are followed from now on, and no others.
    pub(crate) async fn fetch(&mut self, config: &Config) -> Vec<Result<Component, FetchError>> {
        let files = config.injectors.iter().filter_map(|injector| match &injector.component {
            ComponentSource::File(path) => Some(path.clone()),
            ComponentSource::Builtin(_) | ComponentSource::ConfigMap { .. } | ComponentSource::Oci(_) => None,
        });
        let digests = Arc::new(Digests::of(files));
        let look = Arc::clone(&digests);
        // Before they are fetched: what changes in between is seen at the next look.
        let seen = spawn_blocking(move || look.look()).await.unwrap_or_default();
        self.files = Watch::new(seen, move || digests.look());
        let fetcher = Arc::new(Fetcher::new(config, self.builtins));
        let mut fetched = Vec::new();
        for injector in &config.injectors {
            fetched.push(fetcher.fetch(injector.into()).await);
        }
        fetched
    }

    /// Waits until one of those that were fetched last holds something else than it did then. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        self.files.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn gives_what_is_there_and_follows_the_files_of_the_last_request() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        fs::write(&one, "1").unwrap();
        let mut components = Components::new(&[("k8s", b"k")]);
        let fetch = async |components: &mut Components, sources: &[String]| {
            let injector = |(i, source)| format!("- {{ name: p{i}, component: '{source}' }}\n");
            let injectors: String = sources.iter().enumerate().map(injector).collect();
            let config = Config::parse(&format!("injectors:\n{injectors}"), &["k8s", "aws"]).unwrap();
            let fetched = components.fetch(&config).await.into_iter();
            let say = |component: Component| String::from_utf8_lossy(&component.bytes).into_owned();
            fetched.map(|fetched| fetched.map_or_else(|error| error.to_string(), say)).collect::<Vec<_>>()
        };
        let file = |path: &PathBuf| format!("file:{}", path.display());
        let sources = ["builtin:k8s".to_owned(), file(&one), file(&two), "builtin:aws".to_owned()];
        let missing = format!("{}: it cannot be read: No such file or directory (os error 2)", sources[2]);
        let fetched = fetch(&mut components, &sources).await;
        assert_eq!(fetched, ["k", "1", &missing, "builtin:aws: there is no such built-in plugin"]);

        fs::write(&two, "2").unwrap();
        components.changed().await;
        assert_eq!(fetch(&mut components, &sources[..2]).await, ["k", "1"]);
        // Nobody asks for the second any more.
        fs::write(&two, "3").unwrap();
        assert!(timeout(Duration::from_secs(3), components.changed()).await.is_err());
        fs::remove_file(&one).unwrap();
        components.changed().await;
    }
}
