//! A CA and the leaf that it signed: [`CertificatePair`], ECDSA P-256 throughout.
//!
//! Pure but for randomness: whom it is for and what time it is are arguments.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::StoredPair;
use crate::registration::CaBundle;
use ampoule_net::tls::provider;

/// For clients whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The common name of the leaf.
    pub common_name: String,
    /// The common name of the CA.
    pub ca_common_name: String,
    /// The names and addresses that a client may use.
    pub names: Vec<String>,
    /// How long both are valid.
    pub validity: Duration,
}

/// A leaf with its key, and the CA that a client has to trust for it. All three in PEM form.
///
/// It has no `Debug`, as it holds a key.
pub struct CertificatePair {
    /// What to trust; several certificates while an older leaf may still be served.
    pub ca_pem: String,
    /// The leaf.
    pub certificate_pem: String,
    /// The leaf's key.
    pub key_pem: String,
}

// === impl Subject ===

impl Subject {
    /// The API server's names for a Service: with every suffix that it may call it by.
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
    /// Makes a CA and a leaf, valid from `now` on.
    ///
    /// # Errors
    ///
    /// If a name cannot stand in a certificate.
    pub fn issue(subject: Subject, now: SystemTime) -> Result<Self, rcgen::Error> {
        let Subject { common_name, ca_common_name, names, validity } = subject;
        let mut ca = valid(CertificateParams::default(), now, validity);
        ca.distinguished_name.push(DnType::CommonName, ca_common_name);
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

        let mut leaf = valid(CertificateParams::new(names)?, now, validity);
        leaf.distinguished_name.push(DnType::CommonName, common_name);
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &ca)?;
        Ok(Self { ca_pem: ca.pem(), certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// The three as they are stored.
    #[must_use]
    pub fn stored(&self) -> StoredPair<'_> {
        let Self { ca_pem, certificate_pem, key_pem } = self;
        let [ca, certificate, key] = [ca_pem, certificate_pem, key_pem].map(|pem| Some(pem.as_bytes()));
        StoredPair { ca, certificate, key }
    }

    /// Of the bundle, what a client that calls `host` has to trust; the rest is for an older leaf. None if nothing will do.
    pub fn signers(&self, host: &str, at: SystemTime) -> Option<String> {
        let good = |ca: &String| StoredPair { ca: Some(ca.as_bytes()), ..self.stored() }.check(Some(host), at).is_ok();
        let signers: String = CaBundle::parse(&self.ca_pem).each_pem().filter(good).collect();
        (!signers.is_empty()).then_some(signers)
    }

    /// The leaf and its key as the TLS layer takes them.
    #[must_use]
    pub fn certified_key(&self) -> CertifiedKey {
        let certificate = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes());
        let (certificate, key) = (certificate.expect("it was just written"), key.expect("it was just written"));
        CertifiedKey::from_der(vec![certificate], key, &provider()).expect("the key was made for the certificate")
    }
}

fn valid(mut params: CertificateParams, now: SystemTime, validity: Duration) -> CertificateParams {
    let now = date_time_ymd(1970, 1, 1) + now.duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = now - BACKDATED;
    params.not_after = now + validity;
    params
}
