//! What a stored pair is worth: [`StoredPair::condition`], judged as a client would, at a given time.
//!
//! Full chains are accepted. A pair without a CA is somebody else's business, and is left to them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    CertificateError, Error, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};

use super::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};
use crate::tls::provider;

/// What is stored, in PEM form; absent where there is none.
#[derive(Clone, Copy, Default)]
pub struct StoredPair<'a> {
    /// What to trust.
    pub ca: Option<&'a [u8]>,
    /// The leaf and its chain.
    pub certificate: Option<&'a [u8]>,
    /// The leaf's key.
    pub key: Option<&'a [u8]>,
}

/// What a stored pair is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It serves.
    Good,
    /// It serves, but not for much longer.
    Due,
    /// It does not serve, for this reason.
    Unusable(String),
}

// === impl StoredPair ===

impl StoredPair<'_> {
    /// What the pair is worth to a client that calls `host`; due if it ends within `reserve`.
    #[must_use]
    pub fn condition(&self, host: &str, now: SystemTime, reserve: Duration) -> Condition {
        match self.check(host, now) {
            Err(reason) => Condition::Unusable(reason),
            Ok(()) if self.check(host, now + reserve).is_err() => Condition::Due,
            Ok(()) => Condition::Good,
        }
    }

    fn check(&self, host: &str, at: SystemTime) -> Result<(), String> {
        let Self { ca, certificate, key } = self;
        let certificate = certificate.ok_or_else(|| format!("{CERTIFICATE_FILE} is missing"))?;
        let key = key.ok_or_else(|| format!("{KEY_FILE} is missing"))?;
        let chain = certificates(certificate, CERTIFICATE_FILE)?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|_| format!("{KEY_FILE} holds no private key in PEM form"))?;
        CertifiedKey::from_der(chain.clone(), key, &provider())
            .map_err(|error| format!("{CERTIFICATE_FILE} and {KEY_FILE} cannot be used together: {error}"))?;
        match ca {
            Some(ca) => verify(&chain, ca, host, at),
            None => Ok(()),
        }
    }
}

/// As the API server does when it calls.
fn verify(chain: &[CertificateDer<'_>], ca: &[u8], host: &str, at: SystemTime) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca, CA_FILE)? {
        roots.add(certificate).map_err(|error| format!("{CA_FILE} cannot be used: {error}"))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    let verifier = verifier.build().map_err(|error| format!("{CA_FILE} cannot be used: {error}"))?;
    let name = ServerName::try_from(host).map_err(|_| format!("{host} is no name of a server"))?;
    let (leaf, intermediates) = chain.split_first().expect("a chain without certificates was refused above");
    let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
    match verifier.verify_server_cert(leaf, intermediates, &name, &[], at) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{CERTIFICATE_FILE} {}", reason(&error, host))),
    }
}

fn reason(error: &Error, host: &str) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "has expired".to_owned()
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "is not valid yet".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("is not for {host}"),
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            format!("was not signed by {CA_FILE}")
        }
        other => format!("is refused: {other}"),
    }
}

fn certificates(pem: &[u8], file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{file} holds no certificate in PEM form")),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{CertificatePair, Subject},
        *,
    };

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const HOST: &str = "hook.flyte.svc";

    fn issue(now: SystemTime) -> CertificatePair {
        CertificatePair::issue(Subject::service("hook", "flyte", 90 * DAY), now).unwrap()
    }

    fn stored(pair: &CertificatePair) -> StoredPair<'_> {
        let CertificatePair { ca_pem, certificate_pem, key_pem } = pair;
        StoredPair {
            ca: Some(ca_pem.as_bytes()),
            certificate: Some(certificate_pem.as_bytes()),
            key: Some(key_pem.as_bytes()),
        }
    }

    fn unusable(reason: &str) -> Condition {
        Condition::Unusable(reason.to_owned())
    }

    #[test]
    fn a_pair_is_good_then_due_then_expired() {
        let start = UNIX_EPOCH + 20_000 * DAY;
        let pair = issue(start);
        for (day, expected) in [
            (0, Condition::Good),
            (59, Condition::Good),
            (61, Condition::Due),
            (89, Condition::Due),
            (91, unusable("tls.crt has expired")),
        ] {
            assert_eq!(stored(&pair).condition(HOST, start + day * DAY, 30 * DAY), expected, "{day}");
        }
        let condition = |hours: u32| stored(&pair).condition(HOST, start - hours * DAY / 24, 30 * DAY);
        // A clock two hours behind the issuer's; half an hour is forgiven.
        assert_eq!(condition(2), unusable("tls.crt is not valid yet"));
        assert_eq!(stored(&pair).condition(HOST, start - DAY / 48, 30 * DAY), Condition::Good);
    }

    #[test]
    fn every_name_of_the_service_is_in_it() {
        let now = UNIX_EPOCH + 20_000 * DAY;
        let pair = issue(now);
        for host in ["hook", "hook.flyte", HOST] {
            assert_eq!(stored(&pair).condition(host, now, DAY), Condition::Good, "{host}");
        }
        let other = stored(&pair).condition("hook.other.svc", now, DAY);
        assert_eq!(other, unusable("tls.crt is not for hook.other.svc"));
    }

    #[test]
    fn what_cannot_serve_is_said() {
        let now = UNIX_EPOCH + 20_000 * DAY;
        let (pair, other) = (issue(now), issue(now));
        let (good, other) = (stored(&pair), stored(&other));
        for (stored, expected) in [
            (StoredPair::default(), "tls.crt is missing"),
            (StoredPair { key: None, ..good }, "tls.key is missing"),
            (StoredPair { certificate: Some(b""), ..good }, "tls.crt holds no certificate in PEM form"),
            (StoredPair { key: Some(b"x"), ..good }, "tls.key holds no private key in PEM form"),
            (StoredPair { ca: Some(b"x"), ..good }, "ca.crt holds no certificate in PEM form"),
            (StoredPair { ca: other.ca, ..good }, "tls.crt was not signed by ca.crt"),
            (
                StoredPair { key: other.key, ..good },
                "tls.crt and tls.key cannot be used together: keys may not be consistent: KeyMismatch",
            ),
        ] {
            assert_eq!(stored.condition(HOST, now, DAY), unusable(expected));
        }
        assert_eq!(StoredPair { ca: None, ..good }.condition(HOST, now, DAY), Condition::Good);
    }

    #[test]
    fn a_bundle_trusts_every_ca_in_it() {
        let now = UNIX_EPOCH + 20_000 * DAY;
        let (old, new) = (issue(now), issue(now));
        let bundle = format!("{}{}", new.ca_pem, old.ca_pem);
        for pair in [&old, &new] {
            let stored = StoredPair { ca: Some(bundle.as_bytes()), ..stored(pair) };
            assert_eq!(stored.condition(HOST, now, DAY), Condition::Good);
        }
    }
}
