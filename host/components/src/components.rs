//! The injectors and their components, followed: [`Components`] fetches them, and reports when a
//! source changes.
//!
//! It follows files and the signatures beside them, labelled and named ConfigMaps, and tags of
//! registries.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use tokio::{sync::OnceCell, task::spawn_blocking};

use crate::{
    builtins::{self, Builtins},
    fetch::{Fetcher, LARGEST_SIGNATURE},
    file_digests::FileDigests,
    injector_config_maps::InjectorConfigMaps,
    injector_fetcher::{FetchRecord, InjectorFetcher, PinnedComponent},
    injectors::{self, ListedInjector},
    kept_config_maps::{ConfigMapsByName, KeptConfigMaps},
    named_config_maps::NamedConfigMaps,
    registry_access::RegistryAccess,
    source_version::SourceVersion,
    tag_poller::TagPoller,
};
use ampoule_cluster::Cluster;
use ampoule_config::{ComponentSource, Config, InjectorConfig, RegistriesConfig};
use ampoule_net::{file, watch::Watch};

/// The digest of each file, or the error of reading it.
type FilesByPath = BTreeMap<PathBuf, Result<String, String>>;

/// The injectors of the last configuration, and the watches of their sources.
pub struct Components {
    builtins: Builtins,
    cluster: OnceCell<Cluster>,
    files: Watch<FilesByPath>,
    /// The digests at the last call of [`Components::follow`].
    file_digests: FilesByPath,
    /// `None` if the configuration accepts no injectors from ConfigMaps.
    injector_maps: Option<InjectorConfigMaps>,
    /// The ConfigMaps of the last list.
    listed_maps: KeptConfigMaps,
    named_maps: Option<NamedConfigMaps>,
    tags: TagPoller,
    pinned: Vec<PinnedComponent>,
}

// === impl Components ===

impl Components {
    /// Follows nothing yet.
    pub fn new(builtins: Builtins) -> Self {
        Self {
            builtins,
            cluster: OnceCell::new(),
            files: Watch::new(BTreeMap::new(), BTreeMap::new),
            file_digests: BTreeMap::new(),
            injector_maps: None,
            listed_maps: KeptConfigMaps::default(),
            named_maps: None,
            tags: TagPoller::default(),
            pinned: Vec::new(),
        }
    }

    /// Returns every injector in the order in which a pod uses them. Only the first call with
    /// injectors from ConfigMaps sends a request.
    ///
    /// # Errors
    ///
    /// If the configuration accepts injectors from ConfigMaps, and they cannot be listed.
    pub async fn list(&mut self, config: &Config) -> anyhow::Result<Vec<ListedInjector>> {
        if config.config_maps && self.injector_maps.is_none() {
            let context = "plugins.configMaps: the ConfigMaps cannot be listed";
            let cluster = self.cluster.get_or_try_init(Cluster::connect).await.context(context)?;
            self.injector_maps = Some(InjectorConfigMaps::follow(cluster).await.context(context)?);
        }
        Ok(self.list_known(config))
    }

    /// Returns every injector that is known without a request.
    pub fn list_known(&mut self, config: &Config) -> Vec<ListedInjector> {
        if !config.config_maps {
            self.injector_maps = None;
        }
        self.listed_maps = self.injector_maps.as_mut().map(InjectorConfigMaps::get).unwrap_or_default();
        injectors::list(config, &self.listed_maps, &builtins::names(self.builtins))
    }

    /// Follows the sources of these injectors only, which [`Components::list`] has returned.
    /// Returns the fetcher of their components.
    pub async fn follow(&mut self, config: &Config, injectors: &[ListedInjector]) -> InjectorFetcher {
        self.pinned.retain(|pinned| pinned.is_used(injectors));
        let maps = self.listed_maps.maps.clone();
        // Before the fetch: the next poll then detects a change in between.
        self.follow_sources(injectors, &maps, &config.registries).await;
        InjectorFetcher::new(Fetcher::new(config, self.builtins, maps), config, self.pinned.clone())
    }

    /// Returns the version of an injector's source at the last call of [`Components::follow`].
    #[must_use]
    pub fn source_version(&self, injector: &ListedInjector) -> SourceVersion {
        let Ok(config) = &injector.config else { return SourceVersion::default() };
        let mut version = SourceVersion {
            files: files(config).iter().map(|(path, _)| self.file_digests.get(path).cloned()).collect(),
            ..SourceVersion::default()
        };
        match &config.component {
            ComponentSource::ConfigMap { name, key: _ } => {
                version.map = self.listed_maps.maps.get(name).cloned();
                version.named_map = self.named_maps.as_ref().and_then(|maps| maps.version(name)).map(str::to_owned);
            }
            ComponentSource::Oci(reference) => version.tag = self.tags.digest(reference).map(str::to_owned),
            ComponentSource::Builtin(_) | ComponentSource::File(_) => {}
        }
        version
    }

    /// Keeps what a fetch found out.
    pub fn record(&mut self, record: FetchRecord) {
        self.pinned.extend(record.pinned);
        if let Some((reference, result)) = record.tag {
            self.tags.record(&reference, result);
        }
    }

    /// Waits until a source of the last fetch has changed, or an injector was added or removed.
    /// Cancel safe.
    pub async fn changed(&mut self) {
        tokio::select! {
            _ = self.files.changed() => {}
            () = injector_maps_changed(self.injector_maps.as_mut()) => {}
            () = named_maps_changed(self.named_maps.as_mut()) => {}
            () = self.tags.changed() => {}
        }
    }

    async fn follow_sources(
        &mut self,
        injectors: &[ListedInjector],
        maps: &ConfigMapsByName,
        registries: &RegistriesConfig,
    ) {
        let configs: Vec<_> = injectors.iter().filter_map(|injector| injector.config.as_ref().ok()).collect();
        self.follow_files(&configs).await;
        let mut tags = Vec::new();
        let mut named = Vec::new();
        for injector in injectors {
            let Ok(config) = &injector.config else { continue };
            match &config.component {
                ComponentSource::Oci(reference) if reference.digest().is_none() => {
                    tags.push((reference.clone(), RegistryAccess::new(injector.origin.is_some())));
                }
                ComponentSource::ConfigMap { name, key: _ } if !maps.contains_key(name) => named.push(name.clone()),
                _ => {}
            }
        }
        self.tags.follow(registries, tags);
        self.named_maps = self.follow_named(named).await;
    }

    async fn follow_files(&mut self, configs: &[&InjectorConfig]) {
        let digests = Arc::new(FileDigests::new(configs.iter().flat_map(|config| files(config))));
        let first = Arc::clone(&digests);
        let known = spawn_blocking(move || first.read()).await.unwrap_or_default();
        self.file_digests.clone_from(&known);
        self.files = Watch::new(known, move || digests.read());
    }

    async fn follow_named(&self, names: Vec<String>) -> Option<NamedConfigMaps> {
        if names.is_empty() {
            return None;
        }
        // Without a cluster, the fetch of these components fails and reports the reason.
        let cluster = self.cluster.get_or_try_init(Cluster::connect).await.ok()?;
        Some(NamedConfigMaps::read(cluster, names).await)
    }
}

async fn injector_maps_changed(maps: Option<&mut InjectorConfigMaps>) {
    match maps {
        Some(maps) => maps.changed().await,
        None => std::future::pending().await,
    }
}

async fn named_maps_changed(maps: Option<&mut NamedConfigMaps>) {
    match maps {
        Some(maps) => maps.changed().await,
        None => std::future::pending().await,
    }
}

/// Returns the files that a plugin consists of, with a limit in bytes for each.
fn files(config: &InjectorConfig) -> Vec<(PathBuf, usize)> {
    let mut files = Vec::new();
    if let Some(path) = config.grants.http.as_ref().and_then(|http| http.ca_file.clone()) {
        files.push((path, file::SMALL));
    }
    if let ComponentSource::File(path) = &config.component {
        files.push((path.clone(), config.limits.component_bytes));
        // A signature may be written after the component.
        files.extend(["sig", "minisig"].map(|kind| (path.with_added_extension(kind), LARGEST_SIGNATURE)));
    }
    files
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use futures_util::future::join_all;
    use hyper::{StatusCode, Uri, body::Bytes};
    use serde_json::json;
    use tokio::{net::TcpListener, sync::Barrier, time::timeout};

    use super::*;
    use crate::{fetch::Component, injector_fetcher::FetchedInjector};

    /// Fetches all components at once, as the loader does.
    async fn fetch_all(components: &mut Components, config: &Config) -> Vec<FetchedInjector> {
        let listed = components.list(config).await.unwrap();
        let fetcher = components.follow(config, &listed).await;
        let fetched = join_all(listed.into_iter().map(|injector| fetcher.fetch(injector))).await;
        fetched.iter().for_each(|injector| components.record(fetcher.record(injector)));
        fetched
    }

    #[tokio::test]
    async fn fetches_present_components_and_follows_the_files_of_the_last_fetch() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        fs::write(&one, "1").unwrap();
        let mut components = Components::new(&[("k8s", b"k")]);
        let fetch = async |components: &mut Components, sources: &[String]| {
            let injector = |(i, source)| format!("- {{ name: p{i}, component: '{source}' }}\n");
            let injectors: String = sources.iter().enumerate().map(injector).collect();
            let config = Config::parse(&format!("injectors:\n{injectors}"), &["k8s", "aws"]).unwrap();
            let fetched = fetch_all(components, &config).await.into_iter();
            let text = |component: Component| String::from_utf8_lossy(&component.bytes).into_owned();
            fetched
                .map(|one| one.component.map_or_else(|error| error.root_cause().to_string(), text))
                .collect::<Vec<_>>()
        };
        let file = |path: &PathBuf| format!("file:{}", path.display());
        let sources = ["builtin:k8s".to_owned(), file(&one), file(&two), "builtin:aws".to_owned()];
        let missing = format!("{}: the component cannot be read: No such file or directory (os error 2)", sources[2]);
        let fetched = fetch(&mut components, &sources).await;
        assert_eq!(fetched, ["k", "1", &missing, "builtin:aws: no such built-in plugin"]);

        fs::write(&two, "2").unwrap();
        components.changed().await;
        assert_eq!(fetch(&mut components, &sources[..2]).await, ["k", "1"]);
        // The last fetch did not include the second file.
        fs::write(&two, "3").unwrap();
        let settled = tokio::time::sleep(Duration::from_secs(3));
        tokio::select! {
            () = components.changed() => panic!("the second file is not followed"),
            () = settled => {}
        }
        fs::write(one.with_added_extension("minisig"), "by a key").unwrap();
        components.changed().await;
        fs::remove_file(&one).unwrap();
        components.changed().await;
        let ca = folder.path().join("ca.crt");
        let grants = format!("grants: {{ http: {{ hosts: [a.example], caFile: {} }} }}", ca.display());
        let config = format!("injectors: [{{ name: p, component: builtin:k8s, {grants} }}]");
        fetch_all(&mut components, &Config::parse(&config, &["k8s"]).unwrap()).await;
        fs::write(&ca, "another").unwrap();
        components.changed().await;
    }

    /// Returns a registry with two components, and its request count. It returns a manifest only
    /// while both are requested.
    async fn registry() -> (String, [String; 2], Arc<AtomicUsize>) {
        let digest = |bytes: &[u8]| format!("sha256:{}", ampoule_engine::digest(bytes));
        let layers = ["one", "two"].map(str::as_bytes);
        let manifests = layers.map(|layer| {
            let layer = json!({ "mediaType": "application/wasm", "digest": digest(layer), "size": layer.len() });
            json!({ "schemaVersion": 2, "config": layer, "layers": [layer] }).to_string().into_bytes()
        });
        let references = manifests.each_ref().map(|manifest| digest(manifest));
        let (requested, both) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(2)));
        let blobs: Vec<_> = layers.map(<[u8]>::to_vec).into_iter().chain(manifests).collect();
        let count = Arc::clone(&requested);
        let app = axum::Router::new().fallback(async move |url: Uri| {
            count.fetch_add(1, Ordering::Relaxed);
            if url.path().contains("/manifests/") {
                both.wait().await;
            }
            let found = blobs.iter().find(|bytes| url.path().ends_with(&digest(bytes)));
            found.cloned().ok_or(StatusCode::NOT_FOUND)
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async { axum::serve(listener, app).await });
        (host, references, requested)
    }

    #[tokio::test]
    async fn components_are_fetched_concurrently_and_pinned_ones_only_once() {
        let (host, [one, two], requested) = registry().await;
        let config = |extra: &str| {
            let text = format!(
                "registries: {{ insecure: ['{host}'] }}\ninjectors:\n- {{ name: one, component: 'oci:{host}/p@{one}' }}\n\
                 - {{ name: two, component: 'oci:{host}/p@{two}', limits: {{ {extra} }} }}"
            );
            Config::parse(&text, &[]).unwrap()
        };
        let mut components = Components::new(&[]);
        let mut fetch = async |extra: &str| {
            let fetched = timeout(Duration::from_secs(10), fetch_all(&mut components, &config(extra))).await.unwrap();
            let bytes = fetched.into_iter().map(|one| Bytes::from(one.component.unwrap().bytes));
            (bytes.collect::<Vec<_>>(), requested.load(Ordering::Relaxed))
        };
        for (extra, expected) in [("", 4), ("", 4), ("instances: 1", 4)] {
            assert_eq!(fetch(extra).await, (vec!["one".into(), "two".into()], expected), "{extra}");
        }
    }
}
