//! [`ClientCas`]: the CAs of client certificates, which can be replaced while connections are
//! served.
//!
//! A handshake without a certificate of these CAs fails. Before the first CAs are installed, every
//! handshake fails.

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use prometheus_client::metrics::counter::Counter;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use tracing::debug;

use super::provider;

/// The CAs of client certificates. Handshakes verify with the CAs that were installed last.
pub struct ClientCas {
    verifier: ArcSwapOption<Arc<dyn ClientCertVerifier>>,
    provider: Arc<CryptoProvider>,
    rejected: Counter,
}

/// Why a bundle of CAs is not usable.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientCaError {
    /// The text contains no certificate.
    Empty,
    /// The text contains something that is not PEM.
    NotPem(String),
    /// This certificate, counted from 1, is not usable as a CA.
    Unusable(usize, Error),
    /// The verifier does not accept the bundle.
    Refused(VerifierBuilderError),
}

// === impl ClientCas ===

impl ClientCas {
    /// Creates an empty set. `rejected` counts the certificates that a handshake refuses, also
    /// those that arrive before the first CAs are installed.
    #[must_use]
    pub fn new(rejected: Counter) -> Self {
        Self { verifier: ArcSwapOption::empty(), provider: provider(), rejected }
    }

    /// Accepts clients with a certificate of these CAs from now on, and no others.
    ///
    /// # Errors
    ///
    /// The text is not a usable bundle in PEM form. The previous CAs then stay.
    pub fn install(&self, pem: &[u8]) -> Result<(), ClientCaError> {
        let roots = Arc::new(parse_roots(pem)?);
        let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&self.provider));
        let verifier = builder.build().map_err(ClientCaError::Refused)?;
        self.verifier.store(Some(Arc::new(verifier)));
        Ok(())
    }
}

impl ClientCertVerifier for ClientCas {
    /// Without hints, a client sends the certificate that it has. The hints of a set that can be
    /// replaced cannot be borrowed from it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = match self.verifier.load_full() {
            Some(verifier) => verifier.verify_client_cert(leaf, intermediates, now),
            None => Err(Error::General("the CAs of clients are not known yet".to_owned())),
        };
        verified.inspect_err(|error| {
            self.rejected.inc();
            debug!(%error, "client certificate refused");
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientCas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCas").field("installed", &self.verifier.load().is_some()).finish_non_exhaustive()
    }
}

// === impl ClientCaError ===

impl fmt::Display for ClientCaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("contains no certificate in PEM form"),
            Self::NotPem(reason) => write!(f, "is not PEM: {reason}"),
            Self::Unusable(position, error) => {
                write!(f, "certificate {position} cannot be used as a CA: {error}")
            }
            Self::Refused(error) => write!(f, "cannot be used: {error}"),
        }
    }
}

impl std::error::Error for ClientCaError {}

fn parse_roots(pem: &[u8]) -> Result<RootCertStore, ClientCaError> {
    let mut roots = RootCertStore::empty();
    for (i, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let certificate = certificate.map_err(|error| ClientCaError::NotPem(error.to_string()))?;
        roots.add(certificate).map_err(|error| ClientCaError::Unusable(i + 1, error))?;
    }
    if roots.is_empty() { Err(ClientCaError::Empty) } else { Ok(roots) }
}
