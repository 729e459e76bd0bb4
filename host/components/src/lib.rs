//! The injectors that there are and their components, followed: [`Components`] gives them, and tells when something is another.
//!
//! Injectors are those of the configuration and of labelled ConfigMaps. How a component is had, and whether it may be loaded, is
//! [`crate::fetch`]'s business. What is followed: files with the signatures beside them, ConfigMaps,
//! tags of registries.

pub mod builtins;
mod config_maps;
pub mod fetch;
mod files;
pub mod grants;
mod named;
mod tags;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Context as _, ensure};
use futures_util::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use tokio::{sync::OnceCell, task::spawn_blocking};

pub use self::config_maps::Maps;
use self::{config_maps::ConfigMaps, files::Digests, named::Named, tags::Tags};
use crate::{
    builtins::Builtins,
    fetch::{Component, Fetcher, LARGEST_SIGNATURE, Wanted},
};
use ampoule_cluster::{Cluster, events::ConfigMapReference};
use ampoule_config::{
    ComponentSource, Config, ConfigMapInjector, DOCUMENT, InjectorConfig, RegistriesConfig, TrustConfig,
};
use ampoule_net::{file, watch::Watch};

/// The injectors that somebody asked for.
pub struct Components {
    builtins: Builtins,
    cluster: OnceCell<Cluster>,
    files: Watch<BTreeMap<PathBuf, Result<String, String>>>,
    /// None where none are wanted.
    maps: Option<ConfigMaps>,
    named: Option<Named>,
    tags: Tags,
    /// Those of registries that were fetched last and are named by a digest: they are the same next time.
    pinned: Vec<Pinned>,
}

/// A component that a digest names, and what it was judged by.
struct Pinned {
    wanted: Wanted,
    trust: TrustConfig,
    component: Component,
}

/// An injector, and the component that it is to run; or why there is none.
pub struct Offer {
    pub name: String,
    /// The ConfigMap that brought it along; none if the configuration has it.
    pub origin: Option<ConfigMapReference>,
    /// None if a ConfigMap brings along what is none.
    pub config: Option<InjectorConfig>,
    pub component: anyhow::Result<Component>,
}

/// An injector whose component is not fetched yet.
struct Order {
    name: String,
    origin: Option<ConfigMapReference>,
    config: anyhow::Result<InjectorConfig>,
}

// === impl Components ===

impl Components {
    /// Follows nothing yet.
    pub fn new(builtins: Builtins) -> Self {
        let files = Watch::new(BTreeMap::new(), BTreeMap::new);
        let tags = Tags::default();
        Self { builtins, cluster: OnceCell::new(), files, maps: None, named: None, tags, pinned: Vec::new() }
    }

    /// Every injector, in the order in which they are asked, with what its source holds now. These are followed from now on, and no others.
    ///
    /// # Errors
    ///
    /// If ConfigMaps are to bring injectors along, and cannot be listed.
    pub async fn fetch(&mut self, config: &Config) -> anyhow::Result<Vec<Offer>> {
        let maps = self.maps(config).await?;
        let orders = orders(config, &maps, &builtins::names(self.builtins));
        // Before they are fetched: what changes in between is seen at the next look.
        self.follow(&orders, &maps, &config.registries).await;
        let fetcher = Arc::new(Fetcher::new(config, self.builtins, maps));
        let (known, fetcher) = (&self.pinned, &fetcher);
        // At once: the slowest is waited for, and not one after the other.
        let offers = join_all(orders.into_iter().map(async |Order { name, origin, config: injector }| {
            let (config, component) = match injector {
                Ok(injector) => {
                    let wanted = Wanted::from(&injector);
                    let fetched = match known.iter().find(|pinned| pinned.serves(&wanted, &config.trust)) {
                        Some(pinned) => Ok(pinned.component.clone()),
                        None => fetcher.fetch(wanted).await,
                    };
                    (Some(injector), fetched.with_context(|| format!("injector {name}")))
                }
                Err(error) => (None, Err(error)),
            };
            Offer { name, origin, config, component }
        }))
        .await;
        self.pinned = offers.iter().filter_map(|offer| Pinned::of(offer, &config.trust)).collect();
        Ok(offers)
    }

    /// Waits until one of those that were fetched last holds something else than it did then, or there are others. Cancel safe.
    pub async fn changed(&mut self) {
        let Self { files, maps, named, tags, .. } = self;
        let maps = async {
            match maps {
                Some(maps) => maps.changed().await,
                None => std::future::pending().await,
            }
        };
        let named = async {
            match named {
                Some(named) => named.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = files.changed() => {}
            () = maps => {}
            () = named => {}
            () = tags.changed() => {}
        }
    }

    /// The ConfigMaps that bring injectors along.
    async fn maps(&mut self, config: &Config) -> anyhow::Result<Maps> {
        if !config.config_maps {
            self.maps = None;
            return Ok(Maps::new());
        }
        let maps = match &mut self.maps {
            Some(maps) => maps,
            none => {
                let followed =
                    async { ConfigMaps::follow(self.cluster.get_or_try_init(Cluster::connect).await?).await };
                none.insert(followed.await.context("plugins.configMaps: the ConfigMaps cannot be listed")?)
            }
        };
        Ok(maps.get())
    }

    async fn follow(&mut self, orders: &[Order], maps: &Maps, registries: &RegistriesConfig) {
        let configs: Vec<_> = orders.iter().filter_map(|order| order.config.as_ref().ok()).collect();
        let sources: Vec<_> = configs.iter().map(|config| &config.component).collect();
        let digests = Arc::new(Digests::of(configs.iter().flat_map(|config| files(config))));
        let look = Arc::clone(&digests);
        let seen = spawn_blocking(move || look.look()).await.unwrap_or_default();
        self.files = Watch::new(seen, move || digests.look());
        let tags = sources.iter().filter_map(|source| match source {
            ComponentSource::Oci(reference) if reference.digest().is_none() => Some(reference.clone()),
            _ => None,
        });
        let tags: Vec<_> = tags.collect();
        let named: Vec<_> = sources
            .iter()
            .filter_map(|source| match source {
                ComponentSource::ConfigMap { name, key: _ } if !maps.contains_key(name) => Some(name.clone()),
                _ => None,
            })
            .collect();
        self.tags.follow(registries, tags).await;
        self.named = match named.is_empty() {
            true => None,
            // Without a cluster nothing of it loads, and that says why.
            false => match self.cluster.get_or_try_init(Cluster::connect).await {
                Ok(cluster) => Some(Named::look(cluster, named).await),
                Err(_) => None,
            },
        };
    }
}

// === impl Offer ===

impl Offer {
    /// Whether a ConfigMap brings along what the configuration names itself.
    pub fn is_ignored(&self, config: &Config) -> bool {
        self.origin.is_some() && config.names(&self.name)
    }
}

// === impl Pinned ===

impl Pinned {
    /// None if another component may be meant by the same words, or is had without asking anybody.
    fn of(offer: &Offer, trust: &TrustConfig) -> Option<Self> {
        let (Some(config), Ok(component)) = (&offer.config, &offer.component) else { return None };
        let ComponentSource::Oci(reference) = &config.component else { return None };
        reference.digest()?;
        Some(Self { wanted: config.into(), trust: trust.clone(), component: component.clone() })
    }

    fn serves(&self, wanted: &Wanted, trust: &TrustConfig) -> bool {
        self.wanted == *wanted && self.trust == *trust
    }
}

/// The files that a plugin is made of, with the bytes that each may have.
fn files(config: &InjectorConfig) -> Vec<(PathBuf, usize)> {
    let InjectorConfig { component, limits, grants, .. } = config;
    let ca = grants.http.as_ref().and_then(|http| http.ca_file.clone());
    let mut files: Vec<_> = ca.map(|path| (path, file::SMALL)).into_iter().collect();
    if let ComponentSource::File(path) = component {
        files.push((path.clone(), limits.component_bytes));
        // A signature may be made after what it signs.
        files.extend(["sig", "minisig"].map(|kind| (path.with_added_extension(kind), LARGEST_SIGNATURE)));
    }
    files
}

/// All injectors, in order.
fn orders(config: &Config, maps: &Maps, builtins: &[&str]) -> Vec<Order> {
    let of_config =
        |config: &InjectorConfig| (0, Order { name: config.name.clone(), origin: None, config: Ok(config.clone()) });
    let mut orders: Vec<_> = config.injectors.iter().map(of_config).collect();
    let (mut instances, most) = (0, &config.config_map_limits);
    for (name, map) in maps {
        let origin = Some(ConfigMapReference { name: name.clone(), uid: map.uid().unwrap_or_default() });
        let mut parse = || {
            ensure!(!config.names(name), "ConfigMap {name}: the configuration has an injector of this name");
            let parsed = ConfigMapInjector::parse(name, document(map), builtins, &config.trust, most)?;
            let with = instances + parsed.config.limits.instances;
            ensure!(
                with <= most.instances,
                "ConfigMap {name}: {DOCUMENT}: limits.instances: with its {}, all ConfigMaps have {with} together, and may \
                 have {} (plugins.configMapLimits.instances)",
                parsed.config.limits.instances,
                most.instances
            );
            instances = with;
            Ok(parsed)
        };
        let parsed = parse();
        // Whoever says nothing of it stands where it does by default.
        let order = parsed.as_ref().map_or(0, |parsed| parsed.order);
        orders.push((order, Order { name: name.clone(), origin, config: parsed.map(|parsed| parsed.config) }));
    }
    orders.sort_by_key(|(order, _)| *order);
    orders.into_iter().map(|(_, order)| order).collect()
}

fn document(map: &ConfigMap) -> &str {
    map.data.as_ref().and_then(|data| data.get(DOCUMENT)).map_or("", String::as_str)
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
    async fn gives_what_is_there_and_follows_the_files_of_the_last_request() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        fs::write(&one, "1").unwrap();
        let mut components = Components::new(&[("k8s", b"k")]);
        let fetch = async |components: &mut Components, sources: &[String]| {
            let injector = |(i, source)| format!("- {{ name: p{i}, component: '{source}' }}\n");
            let injectors: String = sources.iter().enumerate().map(injector).collect();
            let config = Config::parse(&format!("injectors:\n{injectors}"), &["k8s", "aws"]).unwrap();
            let offers = components.fetch(&config).await.unwrap().into_iter();
            let say = |component: Component| String::from_utf8_lossy(&component.bytes).into_owned();
            offers
                .map(|offer| offer.component.map_or_else(|error| error.root_cause().to_string(), say))
                .collect::<Vec<_>>()
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
        fs::write(one.with_added_extension("minisig"), "by somebody").unwrap();
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

    /// A registry with two components that gives away a manifest only while both are asked for; and how often it was asked.
    async fn registry() -> (String, [String; 2], Arc<AtomicUsize>) {
        let digest = |bytes: &[u8]| format!("sha256:{}", ampoule_engine::digest(bytes));
        let layers = ["one", "two"].map(str::as_bytes);
        let manifests = layers.map(|layer| {
            let layer = json!({ "mediaType": "application/wasm", "digest": digest(layer), "size": layer.len() });
            json!({ "schemaVersion": 2, "config": layer, "layers": [layer] }).to_string().into_bytes()
        });
        let references = manifests.each_ref().map(|manifest| digest(manifest));
        let (asked, both) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(2)));
        let blobs: Vec<_> = layers.map(<[u8]>::to_vec).into_iter().chain(manifests).collect();
        let count = Arc::clone(&asked);
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
        (host, references, asked)
    }

    #[tokio::test]
    async fn all_are_fetched_at_once_and_what_a_digest_names_only_once() {
        let (host, [one, two], asked) = registry().await;
        let config = |extra: &str| {
            let text = format!(
                "registries: {{ insecure: ['{host}'] }}\ninjectors:\n- {{ name: one, component: 'oci:{host}/p@{one}' }}\n\
                 - {{ name: two, component: 'oci:{host}/p@{two}', limits: {{ {extra} }} }}"
            );
            Config::parse(&text, &[]).unwrap()
        };
        let mut components = Components::new(&[]);
        let mut fetch = async |extra: &str| {
            let offers = timeout(Duration::from_secs(10), components.fetch(&config(extra))).await.unwrap().unwrap();
            let bytes = offers.into_iter().map(|offer| Bytes::from(offer.component.unwrap().bytes));
            (bytes.collect::<Vec<_>>(), asked.load(Ordering::Relaxed))
        };
        for (extra, expected) in [("", 4), ("", 4), ("instances: 1", 4)] {
            assert_eq!(fetch(extra).await, (vec!["one".into(), "two".into()], expected), "{extra}");
        }
    }

    #[test]
    fn config_maps_stand_where_they_say_and_take_no_name_and_no_more_than_they_may() {
        let config = "plugins: { configMapLimits: { instances: 41 } }\n\
                      injectors: [{ name: b, component: builtin:k8s }, { name: a, component: builtin:k8s }]";
        let config = Config::parse(config, &["k8s"]).unwrap();
        let map = |(name, document): (&str, &str)| {
            let data = [(DOCUMENT.to_owned(), document.to_owned())].into();
            (name.to_owned(), Arc::new(ConfigMap { data: Some(data), ..ConfigMap::default() }))
        };
        let maps = [
            ("z", "order: -1\nlimits: { instances: 9 }"),
            ("y", "order: 1"),
            ("x", ""),
            ("w", "nonsense"),
            ("a", ""),
            ("zz", "limits: { instances: 1 }"),
        ];
        let maps = maps.map(map).into();
        let said = orders(&config, &maps, &["k8s"]).into_iter().map(|order| match order.config {
            Ok(_) => order.name,
            Err(error) => error.to_string(),
        });
        let expected = [
            "z",
            "b",
            "a",
            "ConfigMap a: the configuration has an injector of this name",
            "ConfigMap w: injector.yaml, line 1, column 1: must be a mapping",
            "x",
            "ConfigMap zz: injector.yaml: limits.instances: with its 1, all ConfigMaps have 42 together, and may have 41 \
             (plugins.configMapLimits.instances)",
            "y",
        ];
        assert_eq!(said.collect::<Vec<_>>(), expected);
    }
}
