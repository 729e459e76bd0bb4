//! One registry client with its credentials and cache: [`Registry`].
//!
//! A pull reads the manifest first, then the layer that is the component. Files and hashes are read
//! and computed off the threads that serve admissions.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hyper::body::Bytes;
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    cache::BlobCache,
    client::RegistryClient,
    cosign::CosignSignature,
    credentials::Credentials,
    digest::sha256_digest,
    error::OciError,
    manifest::{self, Document, Manifest},
    media_type::{SIGNATURE, SIMPLE_SIGNING},
    repository::Repository,
};
use ampoule_config::{OciReference, RegistriesConfig, is_digest};
use ampoule_net::outbound::AddressCheck;

/// Limit for one operation: 64 MiB at ten megabits a second.
const DEADLINE: Duration = Duration::from_secs(60);
/// Signatures of one component that are read; the one to verify is among them.
const MOST_SIGNATURES: usize = 16;
/// Limit in bytes for the document that cosign signs. It has 250 bytes.
const LARGEST_PAYLOAD: usize = 64 << 10;

/// A client for the registries of a configuration.
pub struct Registry {
    client: RegistryClient,
    credentials: Credentials,
    cache: Option<Arc<BlobCache>>,
}

/// A component from a registry.
pub struct PulledComponent {
    /// The component.
    pub component: Bytes,
    /// The digest of its manifest, `sha256:…`.
    pub digest: String,
}

// === impl Registry ===

impl Registry {
    /// Reads CA certificates and credentials. It sends no request. Reading blocks.
    ///
    /// Open a new registry for each operation: new certificates and credentials then need no
    /// restart.
    ///
    /// # Errors
    ///
    /// If one of the files cannot be used.
    pub fn open(config: &RegistriesConfig, cache: Option<PathBuf>) -> Result<Self, OciError> {
        Ok(Self {
            client: RegistryClient::new(config.ca_file.as_deref(), config.insecure.clone())?,
            credentials: Credentials::read(config.credentials_file.as_deref())?,
            cache: cache.map(|folder| Arc::new(BlobCache::new(folder))),
        })
    }

    /// Calls only hosts whose addresses the check accepts, and hosts in `registries.insecure`.
    #[must_use]
    pub fn checking(self, check: Option<AddressCheck>) -> Self {
        Self { client: self.client.checking(check), ..self }
    }

    /// Pulls a component of at most `limit` bytes. A component that the reference names by digest
    /// is pulled only once if there is a cache.
    ///
    /// # Errors
    ///
    /// If the registry does not return it, or if it is not one component.
    pub async fn pull(&self, reference: &OciReference, limit: usize) -> Result<PulledComponent, OciError> {
        with_deadline(reference, self.pull_component(reference, limit)).await
    }

    /// Returns the digest of the manifest that a reference names now.
    ///
    /// # Errors
    ///
    /// If the registry does not report it.
    pub async fn resolve(&self, reference: &OciReference) -> Result<String, OciError> {
        with_deadline(reference, self.resolve_digest(reference)).await
    }

    /// Returns the signatures that cosign stored beside the manifest with this digest. May be
    /// empty.
    ///
    /// # Errors
    ///
    /// If the registry does not return them.
    pub async fn signatures(&self, reference: &OciReference, digest: &str) -> Result<Vec<CosignSignature>, OciError> {
        with_deadline(reference, self.pull_signatures(reference, digest)).await
    }

    /// Returns access to the repository of a reference, with the rights that `actions` names.
    pub(crate) fn repository<'a>(&'a self, reference: &'a OciReference, actions: &'static str) -> Repository<'a> {
        Repository::new(&self.client, &self.credentials, reference, actions)
    }

    async fn pull_component(&self, reference: &OciReference, limit: usize) -> Result<PulledComponent, OciError> {
        let mut repository = self.repository(reference, "pull");
        let (manifest, digest) = self.manifest(&mut repository, reference).await?;
        let layer = manifest.component()?;
        if layer.size > limit as u64 {
            return Err(OciError::ComponentSize { limit });
        }
        if let Some(component) = self.cached(&layer.digest, limit).await {
            return Ok(PulledComponent { component, digest });
        }
        let component = repository.blob(&layer.digest, limit).await?;
        self.keep(&layer.digest, &component).await;
        Ok(PulledComponent { component, digest })
    }

    async fn resolve_digest(&self, reference: &OciReference) -> Result<String, OciError> {
        let mut repository = self.repository(reference, "pull");
        if let (Some(tag), None) = (reference.tag(), reference.digest())
            && let Some(digest) = repository.digest(tag).await?
        {
            return Ok(digest);
        }
        let (_, digest) = self.manifest(&mut repository, reference).await?;
        Ok(digest)
    }

    async fn pull_signatures(&self, reference: &OciReference, digest: &str) -> Result<Vec<CosignSignature>, OciError> {
        let mut repository = self.repository(reference, "pull");
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let Ok(manifest) = repository.manifest(&tag).await? else { return Ok(Vec::new()) };
        let manifest = Manifest::parse(&manifest)?;
        let mut signatures = Vec::new();
        let layers = manifest.layers.iter().filter(|layer| layer.media_type == SIMPLE_SIGNING);
        for layer in layers.take(MOST_SIGNATURES) {
            let Some(signature) = layer.annotations.get(SIGNATURE) else { continue };
            let payload = repository.blob(&layer.digest, LARGEST_PAYLOAD).await?.to_vec();
            signatures.push(CosignSignature { payload, signature: signature.clone() });
        }
        Ok(signatures)
    }

    /// Returns the manifest, and the digest of what the reference names: of the manifest, or of the
    /// index that contains it.
    async fn manifest(
        &self,
        repository: &mut Repository<'_>,
        reference: &OciReference,
    ) -> Result<(Manifest, String), OciError> {
        let name = reference.digest().or(reference.tag()).expect("a reference has a tag or a digest");
        let (document, digest) = self.document(repository, reference, name).await?;
        let entry = match document {
            Document::Manifest(manifest) => return Ok((manifest, digest)),
            Document::Index(index) => index.component()?.to_owned(),
        };
        match self.document(repository, reference, &entry).await? {
            (Document::Manifest(manifest), _) => Ok((manifest, digest)),
            (Document::Index(_), _) => Err(OciError::Manifest(format!("{entry} of the index is an index itself"))),
        }
    }

    /// Returns what a tag or a digest of the repository names, and its digest.
    async fn document(
        &self,
        repository: &mut Repository<'_>,
        reference: &OciReference,
        name: &str,
    ) -> Result<(Document, String), OciError> {
        let expected = is_digest(name).then_some(name);
        if let Some(digest) = expected
            && let Some(bytes) = self.cached(digest, manifest::LARGEST).await
        {
            return Ok((Document::parse(&bytes)?, digest.to_owned()));
        }
        let missing = |message| OciError::Missing { reference: reference.to_string(), message };
        let bytes = repository.manifest(name).await?.map_err(missing)?;
        let digest = sha256_digest(&bytes);
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(OciError::digest("manifest", expected, digest));
        }
        let document = Document::parse(&bytes)?;
        self.keep(&digest, &bytes).await;
        Ok((document, digest))
    }

    async fn cached(&self, digest: &str, limit: usize) -> Option<Bytes> {
        let (cache, digest) = (Arc::clone(self.cache.as_ref()?), digest.to_owned());
        let found = spawn_blocking(move || cache.get(&digest, limit)).await;
        found.expect("reading the cache does not panic")
    }

    async fn keep(&self, digest: &str, bytes: &Bytes) {
        let Some(cache) = self.cache.clone() else { return };
        let (digest, bytes) = (digest.to_owned(), bytes.clone());
        let kept = spawn_blocking(move || cache.put(&digest, &bytes)).await;
        kept.expect("writing to the cache does not panic");
    }
}

/// Limits an operation on the registry of a reference to [`DEADLINE`].
pub(crate) async fn with_deadline<T>(
    reference: &OciReference,
    work: impl Future<Output = Result<T, OciError>>,
) -> Result<T, OciError> {
    let late = || OciError::Deadline { host: reference.host().to_owned(), limit: DEADLINE };
    timeout(DEADLINE, work).await.unwrap_or_else(|_| Err(late()))
}
