//! TLS for the webhook: the configuration, and a certificate that can be swapped while connections are served.
//!
//! The certificate is read once and held in memory; nothing is read from disk while a client waits.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// The certificate that new connections get. Until one is installed, every handshake fails.
#[derive(Default)]
pub struct ServingCert(ArcSwapOption<CertifiedKey>);

/// How the webhook speaks TLS: 1.2 and 1.3, HTTP/2 preferred, with whatever certificate is installed.
#[must_use]
pub fn server_config(cert: Arc<ServingCert>) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the ring provider supports the default versions");
    let mut config = builder.with_no_client_auth().with_cert_resolver(cert);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

// === impl ServingCert ===

impl ServingCert {
    /// Serves this certificate to every handshake from now on.
    pub fn install(&self, key: CertifiedKey) {
        self.0.store(Some(Arc::new(key)));
    }

    /// What handshakes get now.
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

/// The one crypto provider of this program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
