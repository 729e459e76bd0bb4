//! What a stored pair is worth: [`StoredPair::check`] and [`StoredPair::condition`], judged as a client would, at a given time.
//!
//! Full chains are accepted. A pair without a CA is trusted by somebody else's means: its dates and its names are judged all the same.

#[cfg(test)]
mod tests;

use std::{
    fmt::Write as _,
    ops::RangeInclusive,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use k8s_openapi::jiff::Timestamp;
use rustls::{
    CertificateError, Error, RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use super::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};
use ampoule_net::tls::provider;

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

/// A pair that was found good, as the TLS layer takes it.
///
/// It has no `Debug`, as it holds a key.
#[derive(Clone)]
pub struct CheckedPair {
    /// The chain and its key.
    pub key: CertifiedKey,
    /// When the leaf ends.
    pub ends: SystemTime,
    /// What to trust, in PEM form; none is left to others.
    pub ca: Option<String>,
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
        match self.check(Some(host), now) {
            Err(reason) => Condition::Unusable(reason),
            Ok(_) if self.check(Some(host), now + reserve).is_err() => Condition::Due,
            Ok(_) => Condition::Good,
        }
    }

    /// The pair, if a client may use it at that time that calls `host`; any name will do where none is known.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, as half a sentence that begins with the file's name.
    pub fn check(&self, host: Option<&str>, at: SystemTime) -> Result<CheckedPair, String> {
        let Self { ca, certificate, key } = self;
        let certificate = certificate.ok_or_else(|| format!("{CERTIFICATE_FILE} is missing"))?;
        let key = key.ok_or_else(|| format!("{KEY_FILE} is missing"))?;
        let chain = certificates(certificate, CERTIFICATE_FILE)?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|_| format!("{KEY_FILE} holds no private key in PEM form"))?;
        let key = CertifiedKey::from_der(chain.clone(), key, &provider())
            .map_err(|error| format!("{CERTIFICATE_FILE} and {KEY_FILE} cannot be used together: {error}"))?;
        let ends = in_time(&chain[0], at)?;
        let leaf = ParsedCertificate::try_from(&chain[0]).map_err(|error| refused(&error))?;
        if let Some(host) = host {
            is_for(&leaf, &chain[0], host)?;
        }
        let ca = ca.map(|ca| signed_by(&leaf, &chain[1..], ca, at)).transpose()?;
        Ok(CheckedPair { key, ends, ca })
    }
}

/// When the leaf ends, if it is valid at that time. Its issuers are the client's business, and are judged with the CA.
fn in_time(leaf: &CertificateDer<'_>, at: SystemTime) -> Result<SystemTime, String> {
    let validity = validity(leaf, CERTIFICATE_FILE)?;
    let [start, end, clock] = [*validity.start(), *validity.end(), at].map(said);
    if at < *validity.start() {
        return Err(format!("{CERTIFICATE_FILE} is valid from {start} on, and the clock here says {clock}"));
    }
    if at > *validity.end() {
        return Err(format!("{CERTIFICATE_FILE} expired at {end}, and the clock here says {clock}"));
    }
    Ok(*validity.end())
}

/// From when and until when a certificate is valid.
fn validity(certificate: &CertificateDer<'_>, file: &str) -> Result<RangeInclusive<SystemTime>, String> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| format!("{file} holds a certificate that cannot be read"))?;
    let [start, end] = [parsed.validity.not_before, parsed.validity.not_after].map(|time| instant(time.timestamp()));
    Ok(start..=end)
}

fn is_for(leaf: &ParsedCertificate<'_>, der: &CertificateDer<'_>, host: &str) -> Result<(), String> {
    let name = ServerName::try_from(host).map_err(|_| format!("{host} is no name of a server"))?;
    verify_server_name(leaf, &name).map_err(|error| match error {
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("{CERTIFICATE_FILE} is not for {host}{}", names(der)),
        other => refused(&other),
    })
}

/// Whom a certificate is for, to be read after whom it is not for.
fn names(der: &CertificateDer<'_>) -> String {
    let parsed = X509Certificate::from_der(der).ok();
    let names = parsed.as_ref().and_then(|(_, parsed)| parsed.subject_alternative_name().ok().flatten());
    let mut text = String::new();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        if let GeneralName::DNSName(name) = name {
            let _ = write!(text, "{}{name}", if text.is_empty() { ", but for " } else { ", " });
        }
    }
    text
}

/// As the API server finds out when it calls. Gives the bundle.
fn signed_by(
    leaf: &ParsedCertificate<'_>,
    intermediates: &[CertificateDer<'_>],
    ca: &[u8],
    at: SystemTime,
) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca, CA_FILE)? {
        // The API server, in Go, looks at the dates of a root as well, which webpki does not.
        let current = validity(&certificate, CA_FILE)?.contains(&at);
        roots.add(certificate).map_err(|error| format!("{CA_FILE} cannot be used: {error}"))?;
        if !current {
            roots.roots.pop();
        }
    }
    if roots.is_empty() {
        return Err(format!("{CA_FILE} holds no certificate that is valid at {}, as the clock here says", said(at)));
    }
    let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(leaf, &roots, intermediates, at, algorithms).map_err(
        |error| match error {
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                format!("{CERTIFICATE_FILE} was not signed by {CA_FILE}")
            }
            other => refused(&other),
        },
    )?;
    String::from_utf8(ca.to_vec()).map_err(|_| format!("{CA_FILE} is not text"))
}

fn refused(error: &Error) -> String {
    format!("{CERTIFICATE_FILE} is refused: {error}")
}

/// The certificates of a bundle, which holds one at least.
pub(super) fn certificates(pem: &[u8], file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{file} holds no certificate in PEM form")),
    }
}

fn instant(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// A time as messages say it, to the second.
pub(super) fn said(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let stamp = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    stamp.map_or_else(|| "an unknown time".to_owned(), |stamp| stamp.to_string())
}
