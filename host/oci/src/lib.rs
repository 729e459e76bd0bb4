//! Components in registries: [`Registry`] pulls and pushes them as the CNCF's layout for WebAssembly has them, and finds what cosign
//! has signed.
//!
//! This folder is all that knows of registries. What it reads is bounded, whatever a registry says, and what it gives has the hash
//! that the manifest names.

mod auth;
mod cache;
mod credentials;
mod error;
mod http;
mod manifest;
mod push;
mod repository;

use std::{path::PathBuf, time::Duration};

use data_encoding::HEXLOWER;
use hyper::body::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use self::{cache::BlobCache, credentials::Credentials, http::Http, manifest::Manifest, repository::Repository};
pub use self::{error::OciError, push::ComponentDescription};
use ampoule_config::{OciReference, RegistriesConfig};

/// What the components that are pushed and pulled are called: <https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>.
const COMPONENT: &str = "application/wasm";
/// What describes them.
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// What a manifest is called: OCI's image specification.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What cosign signs, and under which annotation it puts the signature:
/// <https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// 64 MiB at ten megabits a second.
const DEADLINE: Duration = Duration::from_secs(60);
/// Of one component; its own is looked for among them.
const MOST_SIGNATURES: usize = 16;
/// The document that cosign signs has 250 bytes.
const LARGEST_PAYLOAD: usize = 64 << 10;

/// Registries, as the configuration says to reach them.
pub struct Registry {
    http: Http,
    credentials: Credentials,
    cache: Option<BlobCache>,
}

/// A component out of a registry.
pub struct Pulled {
    pub component: Bytes,
    /// The manifest's digest, `sha256:…`.
    pub digest: String,
}

/// A signature as cosign stores it: a document, and a signature of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignSignature {
    pub payload: Vec<u8>,
    pub signature: String,
}

// === impl Registry ===

impl Registry {
    /// Reads certificates and credentials, so that new ones are found without a restart. Nothing is asked yet.
    pub fn open(config: &RegistriesConfig, cache: Option<PathBuf>) -> Result<Self, OciError> {
        let RegistriesConfig { credentials_file, ca_file, insecure, refresh: _ } = config;
        let http = Http::new(ca_file.as_deref(), insecure.clone())?;
        let credentials = Credentials::read(credentials_file.as_deref())?;
        Ok(Self { http, credentials, cache: cache.map(BlobCache::new) })
    }

    /// Pulls a component of no more bytes than the limit. One that is named by a digest and was pulled before is not asked for again.
    pub async fn pull(&self, reference: &OciReference, limit: usize) -> Result<Pulled, OciError> {
        in_time(reference, async {
            let mut repository = Repository::new(self, reference, "pull");
            let (manifest, digest) = self.manifest(&mut repository, reference).await?;
            let layer = manifest.component()?;
            if layer.size > limit as u64 {
                return Err(OciError::ComponentSize { limit });
            }
            let component = match self.cached(&layer.digest, limit) {
                Some(component) => component,
                None => {
                    let component = repository.blob(&layer.digest, limit).await?;
                    self.keep(&layer.digest, &component);
                    component
                }
            };
            Ok(Pulled { component, digest })
        })
        .await
    }

    /// The digest of the manifest that this names now.
    pub async fn resolve(&self, reference: &OciReference) -> Result<String, OciError> {
        in_time(reference, async {
            let mut repository = Repository::new(self, reference, "pull");
            let said = match reference.tag() {
                Some(tag) if reference.digest().is_none() => repository.digest(tag).await?,
                _ => None,
            };
            match said {
                Some(digest) => Ok(digest),
                None => Ok(self.manifest(&mut repository, reference).await?.1),
            }
        })
        .await
    }

    /// What cosign has put beside the manifest with this digest; nothing if it has not.
    pub async fn signatures(&self, reference: &OciReference, digest: &str) -> Result<Vec<CosignSignature>, OciError> {
        in_time(reference, async {
            let mut repository = Repository::new(self, reference, "pull");
            let tag = format!("{}.sig", digest.replace(':', "-"));
            let Some(manifest) = repository.manifest(&tag).await? else { return Ok(Vec::new()) };
            let manifest = Manifest::parse(&manifest)?;
            let mut signatures = Vec::new();
            let layers = manifest.layers.iter().filter(|layer| layer.media_type == SIMPLE_SIGNING);
            for layer in layers.take(MOST_SIGNATURES) {
                let Some(signature) = layer.annotations.get(SIGNATURE) else { continue };
                let payload = repository.blob(&layer.digest, LARGEST_PAYLOAD).await?.to_vec();
                signatures.push(CosignSignature { payload, signature: signature.clone() });
            }
            Ok(signatures)
        })
        .await
    }

    /// The manifest and its digest.
    async fn manifest(
        &self,
        repository: &mut Repository<'_>,
        reference: &OciReference,
    ) -> Result<(Manifest, String), OciError> {
        if let Some(digest) = reference.digest()
            && let Some(bytes) = self.cached(digest, manifest::LARGEST)
        {
            return Ok((Manifest::parse(&bytes)?, digest.to_owned()));
        }
        let name = reference.digest().or(reference.tag()).expect("a reference has a tag or a digest");
        let bytes = repository.manifest(name).await?;
        let bytes = bytes.ok_or_else(|| OciError::Missing { reference: reference.to_string() })?;
        let digest = digest_of(&bytes);
        if let Some(expected) = reference.digest().filter(|expected| **expected != digest) {
            return Err(OciError::digest("manifest", expected, digest));
        }
        let manifest = Manifest::parse(&bytes)?;
        self.keep(&digest, &bytes);
        Ok((manifest, digest))
    }

    fn cached(&self, digest: &str, limit: usize) -> Option<Bytes> {
        self.cache.as_ref()?.get(digest, limit)
    }

    fn keep(&self, digest: &str, bytes: &[u8]) {
        if let Some(cache) = &self.cache {
            cache.put(digest, bytes);
        }
    }
}

async fn in_time<T>(reference: &OciReference, work: impl Future<Output = Result<T, OciError>>) -> Result<T, OciError> {
    timeout(DEADLINE, work).await.unwrap_or_else(|_| Err(OciError::Deadline { host: reference.host().to_owned() }))
}

/// As registries write it.
fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(bytes)))
}
