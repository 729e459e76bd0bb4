//! Issuing a CA and a leaf certificate with ECDSA P-256 keys: [`CertificatePair`].
//!
//! Apart from randomness it is pure: the subject and the current time are arguments.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::condition::StoredPair;
use crate::ca_bundle::CaBundle;
use ampoule_net::tls::provider;

/// Tolerance for clients with a slow clock.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// Names and validity of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSubject {
    /// The common name of the leaf.
    pub common_name: String,
    /// The common name of the CA.
    pub ca_common_name: String,
    /// The names and addresses that a client may use.
    pub names: Vec<String>,
    /// The validity of leaf and CA.
    pub validity: Duration,
}

/// A leaf with its key, and the CA that a client must trust. All in PEM format.
///
/// It has no `Debug` because it contains a key.
pub struct CertificatePair {
    /// The CA bundle; several certificates while an older leaf may still be in use.
    pub ca_pem: String,
    /// The leaf.
    pub certificate_pem: String,
    /// The leaf's key.
    pub key_pem: String,
}

// === impl CertificateSubject ===

impl CertificateSubject {
    /// Returns the subject for a Service: its names are those that the API server may use.
    #[must_use]
    pub fn service(name: &str, namespace: &str, validity: Duration) -> Self {
        let qualified = format!("{name}.{namespace}.svc");
        Self {
            names: vec![name.to_owned(), format!("{name}.{namespace}"), qualified.clone()],
            common_name: qualified,
            ca_common_name: format!("{name}.{namespace} CA"),
            validity,
        }
    }
}

// === impl CertificatePair ===

impl CertificatePair {
    /// Issues a CA and a leaf, valid from `now` on.
    ///
    /// # Errors
    ///
    /// A name is not allowed in a certificate.
    pub fn issue(subject: CertificateSubject, now: SystemTime) -> Result<Self, rcgen::Error> {
        let mut ca = valid(CertificateParams::default(), now, subject.validity);
        ca.distinguished_name.push(DnType::CommonName, subject.ca_common_name);
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

        let mut leaf = valid(CertificateParams::new(subject.names)?, now, subject.validity);
        leaf.distinguished_name.push(DnType::CommonName, subject.common_name);
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &ca)?;
        Ok(Self { ca_pem: ca.pem(), certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// Returns the pair in its stored form, for a check.
    #[must_use]
    pub fn stored(&self) -> StoredPair<'_> {
        StoredPair {
            ca: Some(self.ca_pem.as_bytes()),
            certificate: Some(self.certificate_pem.as_bytes()),
            key: Some(self.key_pem.as_bytes()),
        }
    }

    /// Returns the CAs of the bundle that signed the leaf, for a client that calls `host`. The
    /// other CAs are for an older leaf. `None` if no CA signed it.
    pub(crate) fn signers(&self, host: &str, at: SystemTime) -> Option<String> {
        let bundle = CaBundle::parse(&self.ca_pem);
        let signers: String = bundle.each_pem().filter(|ca| self.is_signed_by(ca, host, at)).collect();
        (!signers.is_empty()).then_some(signers)
    }

    fn is_signed_by(&self, ca: &str, host: &str, at: SystemTime) -> bool {
        StoredPair { ca: Some(ca.as_bytes()), ..self.stored() }.check(Some(host), at).is_ok()
    }

    /// Returns the leaf and its key in the form of the TLS layer.
    #[must_use]
    pub fn certified_key(&self) -> CertifiedKey {
        let certificate = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes());
        let certificate = certificate.expect("an issued certificate is valid PEM");
        let key = key.expect("an issued key is valid PEM");
        CertifiedKey::from_der(vec![certificate], key, &provider()).expect("the pair was issued together")
    }
}

fn valid(mut params: CertificateParams, now: SystemTime, validity: Duration) -> CertificateParams {
    let now = date_time_ymd(1970, 1, 1) + now.duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = now - BACKDATED;
    params.not_after = now + validity;
    params
}
