//! Outbound HTTP of a plugin: to hosts that were granted, over TLS, to addresses that may be.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`gate`] | judges each request of a guest before anything is done for it |
//! | [`resolve`] | finds the addresses of a host |
//! | [`exchange`] | connects to the very address that was judged, and asks |
//! | [`answers`] | has a test's answers in the place of hosts |
//! | [`budget`] | counts what one admission has asked and moved |
//!
//! A redirect is an answer like any other: nothing is followed, and if the guest asks again, that is judged as well. Each request
//! has a connection of its own, so that nothing of one pod is left in it for the next.

mod answers;
mod budget;
mod exchange;
mod gate;
mod resolve;

use std::{collections::HashSet, fmt, sync::Arc};

pub use ampoule_core::Destination;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use tokio::sync::Semaphore;

pub use self::{answers::HttpAnswers, resolve::Resolver, resolve::SystemResolver};
pub(crate) use self::{budget::OutboundBudget, gate::HttpGate};

/// Look-ups of names that one plugin may have under way: the system's resolver cannot be broken off, and each holds a thread.
const LOOKUPS: usize = 4;

/// Hosts that a plugin may call by HTTP over TLS, and whose certificates it trusts.
#[derive(Clone)]
pub struct HttpGrant {
    destinations: HashSet<Destination>,
    tls: Arc<ClientConfig>,
    lookups: Arc<Semaphore>,
}

/// Why an authority that is no certificate cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate {number} cannot be a root of trust: {reason}")]
pub struct RootError {
    /// Which of them, from 1.
    pub number: usize,
    /// What is wrong with it.
    pub reason: String,
}

// === impl HttpGrant ===

impl HttpGrant {
    /// Trusts Mozilla's roots, as this program was built with them, and `roots` beside them.
    ///
    /// # Errors
    ///
    /// If one of `roots` is no certificate.
    pub fn new(
        destinations: impl IntoIterator<Item = Destination>,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, RootError> {
        let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for (i, root) in roots.into_iter().enumerate() {
            store.add(root).map_err(|error| RootError { number: i + 1, reason: error.to_string() })?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has a cipher suite for every version of TLS that rustls has")
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self {
            destinations: destinations.into_iter().collect(),
            tls: Arc::new(tls),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        })
    }

    fn covers(&self, destination: &Destination) -> bool {
        self.destinations.contains(destination)
    }
}

impl fmt::Debug for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpGrant").field("destinations", &self.destinations).finish_non_exhaustive()
    }
}
