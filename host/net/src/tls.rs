//! TLS of the webhook: its configuration, and a certificate that can be replaced while connections
//! are served.
//!
//! The certificate stays in memory; no file is read while a client waits.

mod client_cas;

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use rustls::{
    ConfigBuilder, ServerConfig, WantsVerifier,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};

pub use self::client_cas::{ClientCaError, ClientCas};

/// The certificate for new connections. Every handshake fails until one is installed.
#[derive(Default)]
pub struct ServingCert(ArcSwapOption<CertifiedKey>);

/// Returns the TLS configuration of the webhook: TLS 1.2 and 1.3, HTTP/2 preferred, with the
/// installed certificate. Clients need no certificate.
#[must_use]
pub fn server_config(cert: Arc<ServingCert>) -> ServerConfig {
    with_protocols(builder().with_no_client_auth().with_cert_resolver(cert))
}

/// Returns the same configuration for clients that need a certificate of these CAs.
#[must_use]
pub fn server_config_for_clients(cert: Arc<ServingCert>, cas: Arc<ClientCas>) -> ServerConfig {
    let mut config = builder().with_client_cert_verifier(cas).with_cert_resolver(cert);
    // A resumed session is not verified again: it would outlive the CA of its client.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    with_protocols(config)
}

fn builder() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the ring provider supports the default versions")
}

fn with_protocols(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

// === impl ServingCert ===

impl ServingCert {
    /// Uses this certificate for every handshake from now on.
    pub fn install(&self, key: CertifiedKey) {
        self.0.store(Some(Arc::new(key)));
    }

    /// Returns the certificate that handshakes use now.
    #[must_use]
    pub fn installed(&self) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

impl ResolvesServerCert for ServingCert {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

impl fmt::Debug for ServingCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServingCert").field("installed", &self.0.load().is_some()).finish()
    }
}

/// Returns the only cryptography provider of this program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
