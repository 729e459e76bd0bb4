//! [`HttpGrant`]: the hosts that a plugin can call, and the certificates that it trusts.
//!
//! Mozilla's root certificates are compiled in; an admin can add more.

use ampoule_core::{Destination, HostCredential};
use std::{collections::HashMap, fmt, sync::Arc};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use tokio::sync::Semaphore;

/// Concurrent name look-ups of one plugin. A look-up of the system's resolver cannot be cancelled,
/// and holds a thread.
const MAX_LOOKUPS: usize = 4;

/// The hosts that a plugin can call by HTTP over TLS, and the certificates that it trusts.
#[derive(Clone)]
pub struct HttpGrant {
    destinations: HashMap<Destination, Option<Arc<dyn HostCredential>>>,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) lookups: Arc<Semaphore>,
}

/// Why a certificate cannot be trusted as a root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate {number} cannot be used as a root certificate: {reason}")]
pub struct RootError {
    /// Its position in the list, from 1.
    pub number: usize,
    /// The defect.
    pub reason: String,
}

// === impl HttpGrant ===

impl HttpGrant {
    /// Trusts Mozilla's root certificates, as compiled into this program, and `roots`.
    ///
    /// # Errors
    ///
    /// If one of `roots` is not a certificate.
    pub fn new(
        destinations: impl IntoIterator<Item = Destination>,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, RootError> {
        Self::with_credentials(destinations.into_iter().map(|destination| (destination, None)), roots)
    }

    /// Like [`new`](Self::new), with a credential for some destinations.
    ///
    /// # Errors
    ///
    /// If one of `roots` is not a certificate.
    pub fn with_credentials(
        destinations: impl IntoIterator<Item = (Destination, Option<Arc<dyn HostCredential>>)>,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, RootError> {
        let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for (i, root) in roots.into_iter().enumerate() {
            store.add(root).map_err(|error| RootError { number: i + 1, reason: error.to_string() })?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has a cipher suite for every version of TLS that rustls supports")
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self {
            destinations: destinations.into_iter().collect(),
            tls: Arc::new(tls),
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        })
    }

    /// Whether the plugin can call this destination.
    pub(crate) fn covers(&self, destination: &Destination) -> bool {
        self.destinations.contains_key(destination)
    }

    /// The credential that belongs to this destination, and to no other.
    pub(crate) fn credential(&self, destination: &Destination) -> Option<Arc<dyn HostCredential>> {
        self.destinations.get(destination).cloned().flatten()
    }
}

impl fmt::Debug for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpGrant").field("destinations", &self.destinations.keys()).finish_non_exhaustive()
    }
}
