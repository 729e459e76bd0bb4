//! Checks of a stored pair at a given time, as a client performs them: [`StoredPair`].
//!
//! Full chains are accepted. A pair without a CA is trusted by other means; its dates and names are
//! checked nevertheless.

use std::{
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

use super::{
    leaf::{check_leaf, describe_key},
    names::{CA_FILE, CERTIFICATE_FILE, KEY_FILE},
};
use ampoule_net::tls::provider;

/// Stored PEM texts; `None` for a missing file or key.
#[derive(Clone, Copy, Default)]
pub struct StoredPair<'a> {
    /// The CA bundle.
    pub ca: Option<&'a [u8]>,
    /// The leaf and its chain.
    pub certificate: Option<&'a [u8]>,
    /// The leaf's key.
    pub key: Option<&'a [u8]>,
}

/// A usable pair, in the form of the TLS layer.
///
/// It has no `Debug` because it contains a key.
#[derive(Clone)]
pub struct CheckedPair {
    /// The chain and its key.
    pub key: CertifiedKey,
    /// The leaf's expiry.
    pub ends: SystemTime,
    /// The CA bundle as PEM; `None` if the CA is trusted by other means.
    pub ca: Option<String>,
}

/// Usability of a stored pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is usable.
    Good,
    /// It is usable but expires soon.
    Due,
    /// It is not usable, for this reason.
    Unusable(String),
}

// === impl StoredPair ===

impl StoredPair<'_> {
    /// Returns the usability for a client that calls `host`: due if the pair expires within
    /// `reserve`.
    #[must_use]
    pub fn condition(&self, host: &str, now: SystemTime, reserve: Duration) -> Condition {
        match self.check(Some(host), now) {
            Err(reason) => Condition::Unusable(reason),
            Ok(_) if self.check(Some(host), now + reserve).is_err() => Condition::Due,
            Ok(_) => Condition::Good,
        }
    }

    /// Returns the pair if a client that calls `host` accepts it at that time. Without a host, the
    /// certificate's names are not checked.
    ///
    /// # Errors
    ///
    /// The first problem, as a clause that starts with the file's name.
    pub fn check(&self, host: Option<&str>, at: SystemTime) -> Result<CheckedPair, String> {
        let certificate = self.certificate.ok_or_else(|| format!("{CERTIFICATE_FILE} is missing"))?;
        let key = self.key.ok_or_else(|| format!("{KEY_FILE} is missing"))?;
        let chain = certificates(certificate, CERTIFICATE_FILE)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| format!("{KEY_FILE} contains no PEM private key"))?;
        let key = CertifiedKey::from_der(chain.clone(), key, &provider()).map_err(|error| match error {
            // ring does not name the reason.
            Error::General(_) => describe_key(&chain[0]),
            error => format!("{CERTIFICATE_FILE} and {KEY_FILE} cannot be used together: {error}"),
        })?;
        let ends = check_dates(&chain[0], at)?;
        check_leaf(&chain[0])?;
        let leaf = ParsedCertificate::try_from(&chain[0]).map_err(|error| refused(&error))?;
        if let Some(host) = host {
            check_host(&leaf, &chain[0], host)?;
        }
        let ca = self.ca.map(|ca| check_signature(&leaf, &chain[1..], ca, at)).transpose()?;
        Ok(CheckedPair { key, ends, ca })
    }
}

/// Returns the leaf's expiry if the leaf is valid at that time. The dates of its issuers are
/// checked with the CA.
fn check_dates(leaf: &CertificateDer<'_>, at: SystemTime) -> Result<SystemTime, String> {
    let validity = validity(leaf, CERTIFICATE_FILE)?;
    let [start, end, now] = [*validity.start(), *validity.end(), at].map(format_time);
    if at < *validity.start() {
        return Err(format!("{CERTIFICATE_FILE} is not valid before {start} (current time {now})"));
    }
    if at > *validity.end() {
        return Err(format!("{CERTIFICATE_FILE} expired at {end} (current time {now})"));
    }
    Ok(*validity.end())
}

/// Returns the validity period of a certificate.
fn validity(certificate: &CertificateDer<'_>, file: &str) -> Result<RangeInclusive<SystemTime>, String> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| format!("{file} contains a certificate that cannot be parsed"))?;
    let [start, end] = [parsed.validity.not_before, parsed.validity.not_after].map(|time| instant(time.timestamp()));
    Ok(start..=end)
}

fn check_host(leaf: &ParsedCertificate<'_>, der: &CertificateDer<'_>, host: &str) -> Result<(), String> {
    let name = ServerName::try_from(host).map_err(|_| format!("{host} is not a valid server name"))?;
    verify_server_name(leaf, &name).map_err(|error| match error {
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("{CERTIFICATE_FILE} is not valid for {host}; {}", describe_names(der)),
        other => refused(&other),
    })
}

/// Lists the DNS names of a certificate, as a clause.
fn describe_names(der: &CertificateDer<'_>) -> String {
    let parsed = X509Certificate::from_der(der).ok();
    let names = parsed.as_ref().and_then(|(_, parsed)| parsed.subject_alternative_name().ok().flatten());
    let mut dns = Vec::new();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        if let GeneralName::DNSName(name) = name {
            dns.push(*name);
        }
    }
    if dns.is_empty() { "it has no names".to_owned() } else { format!("its names are {}", dns.join(", ")) }
}

/// Checks, as the API server does, that a CA of `ca` signed the certificate. Returns `ca` as text.
fn check_signature(
    leaf: &ParsedCertificate<'_>,
    intermediates: &[CertificateDer<'_>],
    ca: &[u8],
    at: SystemTime,
) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca, CA_FILE)? {
        // The API server, written in Go, also checks the dates of a root; webpki does not.
        let current = validity(&certificate, CA_FILE)?.contains(&at);
        roots.add(certificate).map_err(|error| format!("{CA_FILE} cannot be used: {error}"))?;
        if !current {
            roots.roots.pop();
        }
    }
    if roots.is_empty() {
        return Err(format!("{CA_FILE} contains no certificate that is valid now (current time {})", format_time(at)));
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
    format!("{CERTIFICATE_FILE} was rejected: {error}")
}

/// Returns the certificates of a bundle, at least one.
fn certificates(pem: &[u8], file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{file} contains no PEM certificate")),
    }
}

fn instant(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// Formats a time for messages, to the second.
pub(super) fn format_time(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let stamp = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    stamp.map_or_else(|| "an unknown time".to_owned(), |stamp| stamp.to_string())
}
