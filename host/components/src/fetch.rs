//! A component's bytes from any [`ComponentSource`], only if they may be loaded: [`Fetcher`].
//!
//! Every source has the same steps: read within the limit, compare the pinned hash, verify the
//! signature. Requests are asynchronous; reading files, unpacking, hashing and verification run on
//! blocking threads, off the threads that serve admissions. Nothing is compiled or run here.

mod config_map;
mod error;
mod file;
mod signature;
mod unpack;

use std::{
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::Arc,
};

use ampoule_engine::{ComponentBytes, digest};
use futures_util::FutureExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::{sync::OnceCell, task::spawn_blocking};

use self::signature::SignatureRequirement;
pub use self::{
    error::{FetchError, FetchErrorKind},
    file::LARGEST_SIGNATURE,
    signature::Signer,
};
use crate::{builtins::Builtins, kept_config_maps::ConfigMapsByName, registry_access::RegistryAccess};
use ampoule_cluster::Cluster;
use ampoule_config::{ComponentSource, Config, InjectorConfig, OciReference, RegistriesConfig, TrustConfig};
pub use ampoule_oci::OciError;
use ampoule_oci::Registry;

/// The directory for pulled components, within the engine's directory for compiled ones.
const PULLED: &str = "oci";

/// Fetches components.
pub struct Fetcher {
    builtins: Builtins,
    trust: TrustConfig,
    registries: RegistriesConfig,
    cache: Option<PathBuf>,
    cluster: OnceCell<Cluster>,
    /// ConfigMaps that are known without a request.
    maps: ConfigMapsByName,
}

/// The source of a component, and the conditions for loading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentRequest {
    /// Where the component is.
    pub source: ComponentSource,
    /// Limit in bytes for the component.
    pub limit: usize,
    /// The pinned SHA-256 in hexadecimal.
    pub sha256: Option<String>,
    /// The name of the only key in the configuration that may have signed the component.
    pub signed_by: Option<String>,
    /// The name that the signature must state.
    pub signed_name: Option<String>,
    /// Whether a ConfigMap names the source. Its registry must have an address that plugins may
    /// call.
    pub from_config_map: bool,
}

/// A component that may be loaded.
#[derive(Clone, Debug)]
pub struct Component {
    /// The component.
    pub bytes: ComponentBytes,
    /// Its SHA-256 in hexadecimal.
    pub digest: String,
    /// The digest of its manifest in a registry.
    pub manifest: Option<String>,
    /// The key whose signature was verified; `None` if no signature was required.
    pub signer: Option<Signer>,
}

/// The conditions for loading a component, on the thread that verifies it.
#[derive(Clone)]
struct Conditions {
    limit: usize,
    sha256: Option<String>,
    signature: Option<SignatureRequirement>,
}

// === impl Fetcher ===

impl Fetcher {
    /// Opens and requests nothing yet.
    pub fn new(config: &Config, builtins: Builtins, maps: ConfigMapsByName) -> Self {
        Self {
            builtins,
            trust: config.trust.clone(),
            registries: config.registries.clone(),
            cache: config.engine.cache_directory.as_ref().map(|folder| folder.join(PULLED)),
            cluster: OnceCell::new(),
            maps,
        }
    }

    /// Returns a fetcher that requires no signatures, to inspect a component.
    pub fn trusting(registries: RegistriesConfig, builtins: Builtins) -> Self {
        Self {
            builtins,
            trust: TrustConfig::default(),
            registries,
            cache: None,
            cluster: OnceCell::new(),
            maps: ConfigMapsByName::new(),
        }
    }

    /// Fetches a component and verifies it.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or does not meet the conditions. A panic is an error too: it must not
    /// end the process.
    pub async fn fetch(&self, request: ComponentRequest) -> Result<Component, FetchError> {
        let place = request.source.to_string();
        let fetched = AssertUnwindSafe(self.fetch_and_verify(request)).catch_unwind().await;
        fetched.unwrap_or(Err(FetchErrorKind::Panicked)).map_err(|kind| FetchError { place, kind })
    }

    async fn fetch_and_verify(&self, request: ComponentRequest) -> Result<Component, FetchErrorKind> {
        let conditions = Conditions {
            limit: request.limit,
            signature: SignatureRequirement::new(&self.trust, request.signed_by.as_deref())
                .map(|required| required.for_name(request.signed_name.clone())),
            sha256: request.sha256,
        };
        match request.source {
            ComponentSource::Builtin(name) => {
                let bytes = self.builtin(&name)?;
                blocking(move || conditions.verify_builtin(bytes)).await
            }
            ComponentSource::File(path) => blocking(move || conditions.read_file(&path)).await,
            ComponentSource::ConfigMap { name, key } => {
                let map = self.config_map(&name).await?;
                blocking(move || conditions.read_config_map(&map, &key)).await
            }
            ComponentSource::Oci(reference) => {
                self.pull(&reference, conditions, RegistryAccess::new(request.from_config_map)).await
            }
        }
    }

    fn builtin(&self, name: &str) -> Result<&'static [u8], FetchErrorKind> {
        let found = self.builtins.iter().find(|(builtin, _)| *builtin == name);
        found.map(|(_, bytes)| *bytes).ok_or(FetchErrorKind::NoBuiltin)
    }

    async fn config_map(&self, name: &str) -> Result<Arc<ConfigMap>, FetchErrorKind> {
        if let Some(map) = self.maps.get(name) {
            return Ok(Arc::clone(map));
        }
        let cluster = self.cluster.get_or_try_init(Cluster::connect).await?;
        Ok(Arc::new(config_map::get(cluster, name).await?))
    }

    async fn pull(
        &self,
        reference: &OciReference,
        conditions: Conditions,
        access: RegistryAccess,
    ) -> Result<Component, FetchErrorKind> {
        let (registries, cache) = (self.registries.clone(), self.cache.clone());
        let registry = blocking(move || Ok(Registry::open(&registries, cache)?.checking(access.check()))).await?;
        let pulled = registry.pull(reference, conditions.limit).await?;
        let (bytes, signature) = (pulled.component.clone(), conditions.signature.clone());
        let digest = blocking(move || conditions.pinned_digest(&bytes)).await?;
        let signer = match signature {
            None => None,
            Some(required) => {
                let manifest = pulled.digest.clone();
                let signatures = registry.signatures(reference, &manifest).await?;
                Some(blocking(move || required.verify_cosign(&manifest, &signatures)).await?)
            }
        };
        Ok(Component { bytes: pulled.component.into(), digest, manifest: Some(pulled.digest), signer })
    }
}

/// Runs CPU-bound work and file access on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchErrorKind> + Send + 'static,
) -> Result<T, FetchErrorKind> {
    spawn_blocking(work).await.unwrap_or(Err(FetchErrorKind::Panicked))
}

// === impl Conditions ===

impl Conditions {
    /// A built-in plugin needs no signature: it is part of the program.
    fn verify_builtin(&self, bytes: &'static [u8]) -> Result<Component, FetchErrorKind> {
        let digest = self.pinned_digest(bytes)?;
        Ok(Component { bytes: ComponentBytes::BuiltIn(bytes), digest, manifest: None, signer: None })
    }

    fn read_file(&self, path: &Path) -> Result<Component, FetchErrorKind> {
        let bytes = file::read(path, self.limit)?;
        self.verify(bytes, |extension| file::beside(path, extension))
    }

    fn read_config_map(&self, map: &ConfigMap, key: &str) -> Result<Component, FetchErrorKind> {
        let bytes = unpack::unpack(config_map::entry(map, key)?, self.limit)?;
        self.verify(bytes, |extension| Ok(config_map::beside(map, key, extension)))
    }

    /// Verifies a component with detached signatures, which `find` returns by their extension.
    fn verify(
        &self,
        bytes: Vec<u8>,
        find: impl Fn(&str) -> Result<(String, Option<Vec<u8>>), FetchErrorKind>,
    ) -> Result<Component, FetchErrorKind> {
        let digest = self.pinned_digest(&bytes)?;
        let required = self.signature.as_ref();
        let signer = required.map(|required| required.verify_detached(&bytes, find)).transpose()?;
        Ok(Component { bytes: bytes.into(), digest, manifest: None, signer })
    }

    /// Returns the SHA-256 of a component if it is the pinned one, or if none is pinned.
    fn pinned_digest(&self, bytes: &[u8]) -> Result<String, FetchErrorKind> {
        let found = digest(bytes);
        match &self.sha256 {
            Some(pinned) if *pinned != found => Err(FetchErrorKind::Pin { pinned: pinned.clone(), found }),
            _ => Ok(found),
        }
    }
}

// === impl ComponentRequest ===

impl From<&InjectorConfig> for ComponentRequest {
    fn from(injector: &InjectorConfig) -> Self {
        Self {
            source: injector.component.clone(),
            limit: injector.limits.component_bytes,
            sha256: injector.sha256.clone(),
            signed_by: injector.signed_by.clone(),
            signed_name: injector.signed_name.clone(),
            from_config_map: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetcher() -> Fetcher {
        Fetcher::trusting(RegistriesConfig::default(), &[("k8s", b"k")])
    }

    #[tokio::test]
    async fn a_pinned_component_must_have_the_pinned_hash() {
        for (sha256, expected) in [(digest(b"k"), true), (digest(b"other"), false)] {
            let request = ComponentRequest {
                source: ComponentSource::Builtin("k8s".to_owned()),
                limit: 1,
                sha256: Some(sha256),
                signed_by: None,
                signed_name: None,
                from_config_map: false,
            };
            assert_eq!(fetcher().fetch(request).await.is_ok(), expected);
        }
    }

    #[tokio::test]
    async fn a_panic_while_fetching_is_an_error() {
        let panicked = blocking::<()>(|| panic!("as a test")).await;
        assert!(matches!(panicked, Err(FetchErrorKind::Panicked)));
    }
}
