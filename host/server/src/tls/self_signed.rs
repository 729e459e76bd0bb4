//! A certificate for development: a CA that lives as long as this value, and a leaf for this machine and the service.
//!
//! The CA's key is dropped as soon as the leaf is signed, so nobody can sign a second one with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{CertError, provider};

/// Who may be addressed without being named: this machine, and the service of the manifests in `deploy/`.
const NAMES: [&str; 7] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "ampoule",
    "ampoule.ampoule",
    "ampoule.ampoule.svc",
    "ampoule.ampoule.svc.cluster.local",
];
/// Development servers are restarted more often than once a year.
const VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// For clients whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// A pair for development, and the CA that a client has to trust for it.
pub struct SelfSigned {
    /// The CA.
    pub ca_pem: String,
    /// The leaf.
    pub certificate_pem: String,
    /// The leaf's key.
    pub key_pem: String,
}

// === impl SelfSigned ===

impl SelfSigned {
    /// Makes a pair for this machine, the default service, and `further` names or addresses.
    ///
    /// # Errors
    ///
    /// If a further name cannot stand in a certificate.
    pub fn issue(further: &[String]) -> Result<Self, CertError> {
        let mut ca = validity(CertificateParams::default());
        ca.distinguished_name.push(DnType::CommonName, "ampoule development CA");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

        let names: Vec<String> = NAMES.into_iter().map(str::to_owned).chain(further.iter().cloned()).collect();
        let mut leaf = validity(CertificateParams::new(names)?);
        leaf.distinguished_name.push(DnType::CommonName, "ampoule");
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &ca)?;
        Ok(Self { ca_pem: ca.pem(), certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// The pair as the TLS layer takes it.
    #[must_use]
    pub fn certified_key(&self) -> CertifiedKey {
        let certificate = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes());
        let (certificate, key) = (certificate.expect("it was just written"), key.expect("it was just written"));
        CertifiedKey::from_der(vec![certificate], key, &provider()).expect("the key was made for the certificate")
    }
}

fn validity(mut params: CertificateParams) -> CertificateParams {
    let now = date_time_ymd(1970, 1, 1) + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = now - BACKDATED;
    params.not_after = now + VALIDITY;
    params
}
