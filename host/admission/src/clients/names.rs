//! [`CertificateNames`]: the names by which a client's certificate identifies it.
//!
//! The TLS layer has verified the certificate; here it is only read.

use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// The names of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CertificateNames {
    /// The common names of the subject.
    pub(super) common_names: Vec<String>,
    /// The alternative names: DNS names and URIs.
    alternative_names: Vec<String>,
}

// === impl CertificateNames ===

impl CertificateNames {
    /// Reads a certificate; `None` if it cannot be parsed.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
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
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.common_names.iter().chain(&self.alternative_names).map(String::as_str)
    }
}
