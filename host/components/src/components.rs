//! The injectors and their components, followed: [`Components`] fetches them, and reports when a
//! source changes.
//!
//! It follows files and the signatures beside them, labelled and named ConfigMaps, and tags of
//! registries.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use futures_util::future::join_all;
use tokio::{sync::OnceCell, task::spawn_blocking};

use crate::{
    builtins::{self, Builtins},
    fetch::{Component, ComponentRequest, Fetcher, LARGEST_SIGNATURE},
    file_digests::FileDigests,
    injector_config_maps::{ConfigMapsByName, InjectorConfigMaps},
    injectors::{self, ListedInjector},
    named_config_maps::NamedConfigMaps,
    tag_poller::TagPoller,
};
use ampoule_cluster::{Cluster, events::ConfigMapReference};
use ampoule_config::{ComponentSource, Config, InjectorConfig, RegistriesConfig, TrustConfig};
use ampoule_net::{file, watch::Watch};

/// The injectors of the last configuration, and the watches of their sources.
pub struct Components {
    builtins: Builtins,
    cluster: OnceCell<Cluster>,
    files: Watch<BTreeMap<PathBuf, Result<String, String>>>,
    /// `None` if the configuration accepts no injectors from ConfigMaps.
    injector_maps: Option<InjectorConfigMaps>,
    named_maps: Option<NamedConfigMaps>,
    tags: TagPoller,
    /// Components from registries that a digest names: the next fetch returns the same.
    pinned: Vec<PinnedComponent>,
}

/// A component that a digest names, with the conditions of its verification.
struct PinnedComponent {
    request: ComponentRequest,
    trust: TrustConfig,
    component: Component,
}

/// An injector and its component, or the reason why it has none.
pub struct FetchedInjector {
    /// The name of the injector.
    pub name: String,
    /// The ConfigMap that defines it; `None` for the configuration.
    pub origin: Option<ConfigMapReference>,
    /// `None` if the ConfigMap is not valid.
    pub config: Option<InjectorConfig>,
    /// The verified component.
    pub component: anyhow::Result<Component>,
}

// === impl Components ===

impl Components {
    /// Follows nothing yet.
    pub fn new(builtins: Builtins) -> Self {
        Self {
            builtins,
            cluster: OnceCell::new(),
            files: Watch::new(BTreeMap::new(), BTreeMap::new),
            injector_maps: None,
            named_maps: None,
            tags: TagPoller::default(),
            pinned: Vec::new(),
        }
    }

    /// Returns every injector with its present component, in the order in which a pod uses them.
    /// From now on it follows the sources of these injectors only.
    ///
    /// # Errors
    ///
    /// If the configuration accepts injectors from ConfigMaps, and they cannot be listed.
    pub async fn fetch(&mut self, config: &Config) -> anyhow::Result<Vec<FetchedInjector>> {
        let maps = self.injector_maps(config).await?;
        let injectors = injectors::list(config, &maps, &builtins::names(self.builtins));
        // Before the fetch: the next poll then detects a change in between.
        self.follow(&injectors, &maps, &config.registries).await;
        let fetcher = Fetcher::new(config, self.builtins, maps);
        // All at once, so that the slowest source determines the time.
        let fetches = injectors.into_iter().map(|injector| self.fetch_one(injector, &fetcher, &config.trust));
        let fetched = join_all(fetches).await;
        self.pinned = fetched.iter().filter_map(|one| PinnedComponent::new(one, &config.trust)).collect();
        Ok(fetched)
    }

    async fn fetch_one(&self, injector: ListedInjector, fetcher: &Fetcher, trust: &TrustConfig) -> FetchedInjector {
        let ListedInjector { name, origin, config } = injector;
        let config = match config {
            Ok(config) => config,
            Err(error) => return FetchedInjector { name, origin, config: None, component: Err(error) },
        };
        let request = ComponentRequest::from(&config);
        let component = match self.pinned.iter().find(|pinned| pinned.serves(&request, trust)) {
            Some(pinned) => Ok(pinned.component.clone()),
            None => fetcher.fetch(request).await.with_context(|| format!("injector {name}")),
        };
        FetchedInjector { name, origin, config: Some(config), component }
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

    /// Returns the ConfigMaps that define injectors.
    async fn injector_maps(&mut self, config: &Config) -> anyhow::Result<ConfigMapsByName> {
        if !config.config_maps {
            self.injector_maps = None;
            return Ok(ConfigMapsByName::new());
        }
        if self.injector_maps.is_none() {
            let context = "plugins.configMaps: the ConfigMaps cannot be listed";
            let cluster = self.cluster.get_or_try_init(Cluster::connect).await.context(context)?;
            self.injector_maps = Some(InjectorConfigMaps::follow(cluster).await.context(context)?);
        }
        Ok(self.injector_maps.as_mut().map(InjectorConfigMaps::get).unwrap_or_default())
    }

    async fn follow(&mut self, injectors: &[ListedInjector], maps: &ConfigMapsByName, registries: &RegistriesConfig) {
        let configs: Vec<_> = injectors.iter().filter_map(|injector| injector.config.as_ref().ok()).collect();
        self.follow_files(&configs).await;
        let mut tags = Vec::new();
        let mut named = Vec::new();
        for config in configs {
            match &config.component {
                ComponentSource::Oci(reference) if reference.digest().is_none() => tags.push(reference.clone()),
                ComponentSource::ConfigMap { name, key: _ } if !maps.contains_key(name) => named.push(name.clone()),
                _ => {}
            }
        }
        self.tags.follow(registries, tags).await;
        self.named_maps = self.follow_named(named).await;
    }

    async fn follow_files(&mut self, configs: &[&InjectorConfig]) {
        let digests = Arc::new(FileDigests::new(configs.iter().flat_map(|config| files(config))));
        let first = Arc::clone(&digests);
        let known = spawn_blocking(move || first.read()).await.unwrap_or_default();
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

// === impl FetchedInjector ===

impl FetchedInjector {
    /// Whether a ConfigMap defines an injector whose name the configuration already uses.
    pub fn is_ignored(&self, config: &Config) -> bool {
        self.origin.is_some() && config.names(&self.name)
    }
}

// === impl PinnedComponent ===

impl PinnedComponent {
    /// `None` for mutable tags and for sources that need no network.
    fn new(injector: &FetchedInjector, trust: &TrustConfig) -> Option<Self> {
        let config = injector.config.as_ref()?;
        let component = injector.component.as_ref().ok()?;
        let ComponentSource::Oci(reference) = &config.component else { return None };
        reference.digest()?;
        Some(Self { request: config.into(), trust: trust.clone(), component: component.clone() })
    }

    fn serves(&self, request: &ComponentRequest, trust: &TrustConfig) -> bool {
        self.request == *request && self.trust == *trust
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

    use hyper::{StatusCode, Uri, body::Bytes};
    use serde_json::json;
    use tokio::{net::TcpListener, sync::Barrier, time::timeout};

    use super::*;

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
            let fetched = components.fetch(&config).await.unwrap().into_iter();
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
        components.fetch(&Config::parse(&config, &["k8s"]).unwrap()).await.unwrap();
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
            let fetched = timeout(Duration::from_secs(10), components.fetch(&config(extra))).await.unwrap().unwrap();
            let bytes = fetched.into_iter().map(|one| Bytes::from(one.component.unwrap().bytes));
            (bytes.collect::<Vec<_>>(), requested.load(Ordering::Relaxed))
        };
        for (extra, expected) in [("", 4), ("", 4), ("instances: 1", 4)] {
            assert_eq!(fetch(extra).await, (vec!["one".into(), "two".into()], expected), "{extra}");
        }
    }
}
