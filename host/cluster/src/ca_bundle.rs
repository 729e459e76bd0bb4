//! A set of CA certificates: [`CaBundle`].
//!
//! The registration's `caBundle` and the CA bundle of a certificate pair have this form.

use pem::{EncodeConfig, LineEnding, Pem};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

/// CA certificates in their order, without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CaBundle(Vec<CertificateDer<'static>>);

// === impl CaBundle ===

impl CaBundle {
    /// Reads the certificates of a PEM text and skips everything else.
    pub(crate) fn parse(pem: &str) -> Self {
        let mut bundle = Self::default();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok) {
            bundle.add(certificate);
        }
        bundle
    }

    /// Adds the certificates that it does not contain yet.
    pub(crate) fn extend(&mut self, other: Self) {
        for certificate in other.0 {
            self.add(certificate);
        }
    }

    /// Adds one certificate, unless it is already in the bundle.
    pub(crate) fn add(&mut self, certificate: CertificateDer<'static>) {
        if !self.0.contains(&certificate) {
            self.0.push(certificate);
        }
    }

    /// Whether it contains every certificate of the other bundle.
    pub(crate) fn contains_all(&self, other: &Self) -> bool {
        other.0.iter().all(|certificate| self.0.contains(certificate))
    }

    /// Returns the certificates that the other bundle does not contain.
    pub(crate) fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a CertificateDer<'static>> {
        self.0.iter().filter(|certificate| !other.0.contains(certificate))
    }

    /// Returns the bundle as PEM.
    pub(crate) fn to_pem(&self) -> String {
        self.each_pem().collect()
    }

    /// Returns each certificate as PEM.
    pub(crate) fn each_pem(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(encode_pem)
    }
}

fn encode_pem(certificate: &CertificateDer<'_>) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new("CERTIFICATE", certificate.as_ref()), config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::tests::ca;

    #[test]
    fn a_bundle_keeps_the_order_and_each_certificate_once() {
        let (one, two) = (ca(), ca());
        assert_eq!(CaBundle::parse(&one).to_pem(), one);
        let text = format!("# the first\n{one}\nnoise\n{two}{one}");
        let bundle = CaBundle::parse(&text);
        assert_eq!(bundle.to_pem(), format!("{one}{two}"));
        assert!(bundle.contains_all(&CaBundle::parse(&two)) && !CaBundle::parse(&two).contains_all(&bundle));
        assert_eq!(CaBundle::parse("hello"), CaBundle::default());
    }
}
