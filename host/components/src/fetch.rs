//! A component's bytes, from wherever a [`ComponentSource`] says they are, and only if they may be loaded: [`Fetcher`].
//!
//! Every source goes the same way: read within the limit, compare with the hash that is pinned, verify the signature. Nothing is
//! compiled or run here.

mod config_map;
mod error;
mod file;
mod signature;
mod unpack;

use std::{path::PathBuf, sync::Arc};

use ampoule_engine::{ComponentBytes, digest};
use tokio::{runtime::Handle, sync::OnceCell, task::spawn_blocking};

use self::signature::Demand;
pub use self::{
    error::{FetchError, FetchErrorKind},
    file::LARGEST_SIGNATURE,
};
use crate::{Maps, builtins::Builtins};
use ampoule_cluster::Cluster;
use ampoule_config::{ComponentSource, Config, InjectorConfig, RegistriesConfig, TrustConfig};
use ampoule_oci::Registry;

/// The folder for what was pulled, in the engine's folder for what was compiled.
const PULLED: &str = "oci";

/// Fetches components.
pub struct Fetcher {
    builtins: Builtins,
    trust: TrustConfig,
    registries: RegistriesConfig,
    cache: Option<PathBuf>,
    cluster: OnceCell<Cluster>,
    /// Those that were seen already.
    maps: Maps,
}

/// What to fetch, and what must hold of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub source: ComponentSource,
    /// Bytes of the component at most.
    pub limit: usize,
    /// Its SHA-256 in hexadecimal, if it is pinned.
    pub sha256: Option<String>,
    /// The one key of the configuration that must have signed it.
    pub signed_by: Option<String>,
}

/// A component that may be loaded.
#[derive(Clone, Debug)]
pub struct Component {
    pub bytes: ComponentBytes,
    /// SHA-256, in hexadecimal.
    pub digest: String,
    /// Whose signature was verified, as `NAME (ID)` of the key; none if none had to be.
    pub signer: Option<String>,
}

// === impl Fetcher ===

impl Fetcher {
    /// Nothing is opened or asked yet.
    pub fn new(config: &Config, builtins: Builtins, maps: Maps) -> Self {
        let Config { trust, registries, engine, .. } = config;
        let cache = engine.cache_directory.as_ref().map(|folder| folder.join(PULLED));
        let (trust, registries) = (trust.clone(), registries.clone());
        Self { builtins, trust, registries, cache, cluster: OnceCell::new(), maps }
    }

    /// One that trusts everything, for looking at a component.
    pub fn trusting(registries: RegistriesConfig, builtins: Builtins) -> Self {
        let (trust, cluster, maps) = (TrustConfig::default(), OnceCell::new(), Maps::new());
        Self { builtins, trust, registries, cache: None, cluster, maps }
    }

    /// Fetches a component and judges it. What that computes is done where no admission waits for it.
    pub async fn fetch(self: &Arc<Self>, wanted: Wanted) -> Result<Component, FetchError> {
        let this = Arc::clone(self);
        let place = wanted.source.to_string();
        let runtime = Handle::current();
        let fetched = spawn_blocking(move || runtime.block_on(this.get(&wanted))).await;
        fetched.unwrap_or(Err(FetchErrorKind::Panicked)).map_err(|kind| FetchError { place, kind })
    }

    async fn get(&self, wanted: &Wanted) -> Result<Component, FetchErrorKind> {
        let Wanted { source, limit, sha256, signed_by } = wanted;
        let demand = Demand::of(&self.trust, signed_by.as_deref());
        let judge = |bytes: &[u8]| check_pin(digest(bytes), sha256.as_deref());
        match source {
            ComponentSource::Builtin(name) => {
                let found = self.builtins.iter().find(|(builtin, _)| builtin == name);
                let (_, bytes) = found.ok_or(FetchErrorKind::NoBuiltin)?;
                Ok(Component { digest: judge(bytes)?, bytes: ComponentBytes::BuiltIn(bytes), signer: None })
            }
            ComponentSource::File(path) => {
                let bytes = file::read(path, *limit)?;
                let digest = judge(&bytes)?;
                let signer =
                    demand.map(|demand| demand.detached(&bytes, |kind| file::beside(path, kind))).transpose()?;
                Ok(Component { bytes: bytes.into(), digest, signer })
            }
            ComponentSource::ConfigMap { name, key } => {
                let map = match self.maps.get(name) {
                    Some(map) => Arc::clone(map),
                    None => Arc::new(config_map::get(self.cluster().await?, name).await?),
                };
                let bytes = unpack::unpack(config_map::entry(&map, key)?, *limit)?;
                let digest = judge(&bytes)?;
                let signer = demand.map(|demand| demand.detached(&bytes, |kind| config_map::beside(&map, key, kind)));
                Ok(Component { signer: signer.transpose()?, bytes: bytes.into(), digest })
            }
            ComponentSource::Oci(reference) => {
                let registry = Registry::open(&self.registries, self.cache.clone())?;
                let pulled = registry.pull(reference, *limit).await?;
                let digest = judge(&pulled.component)?;
                let signer = match demand {
                    None => None,
                    Some(demand) => {
                        let signatures = registry.signatures(reference, &pulled.digest).await?;
                        Some(demand.cosign(&pulled.digest, &signatures)?)
                    }
                };
                Ok(Component { bytes: pulled.component.into(), digest, signer })
            }
        }
    }

    async fn cluster(&self) -> Result<&Cluster, FetchErrorKind> {
        Ok(self.cluster.get_or_try_init(Cluster::connect).await?)
    }
}

// === impl Wanted ===

impl From<&InjectorConfig> for Wanted {
    fn from(injector: &InjectorConfig) -> Self {
        let InjectorConfig { name: _, component, sha256, signed_by, settings: _, limits, grants: _, required: _ } =
            injector;
        Self {
            source: component.clone(),
            limit: limits.component_bytes,
            sha256: sha256.clone(),
            signed_by: signed_by.clone(),
        }
    }
}

/// Gives the hash back if it is the one that is pinned.
fn check_pin(digest: String, pinned: Option<&str>) -> Result<String, FetchErrorKind> {
    match pinned {
        Some(pinned) if pinned != digest => Err(FetchErrorKind::Pin { pinned: pinned.to_owned(), found: digest }),
        _ => Ok(digest),
    }
}
