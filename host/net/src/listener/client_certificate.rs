//! [`ClientCertificate`]: the names by which the certificate of a connection's client identifies
//! it.
//!
//! The handshake has verified the certificate. Its names are read once for the connection, and not
//! for each request.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// The certificate that the client of a connection presented. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    /// No certificate, or no TLS.
    #[default]
    None,
    /// A certificate that cannot be parsed.
    Unreadable,
    /// A certificate with these names.
    Named(Arc<CertificateNames>),
}

/// The names of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct CertificateNames {
    /// The common names of the subject.
    pub common_names: Vec<String>,
    /// The alternative names: DNS names and URIs.
    pub alternative_names: Vec<String>,
}

// === impl ClientCertificate ===

impl ClientCertificate {
    /// Reads a verified certificate.
    #[must_use]
    pub fn read(certificate: &CertificateDer<'_>) -> Self {
        CertificateNames::read(certificate).map_or(Self::Unreadable, |names| Self::Named(Arc::new(names)))
    }
}

// === impl CertificateNames ===

impl CertificateNames {
    fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let common_names = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        let common_names = common_names.map(str::to_owned).collect();
        let extension = parsed.subject_alternative_name().ok()?;
        let general_names = extension.iter().flat_map(|extension| &extension.value.general_names);
        let alternative_names = general_names.filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
            _ => None,
        });
        Some(Self { common_names, alternative_names: alternative_names.collect() })
    }

    /// Returns all names.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.common_names.iter().chain(&self.alternative_names).map(String::as_str)
    }
}
