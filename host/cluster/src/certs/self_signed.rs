//! A certificate for development: for this machine, and for the Service of the manifests in `deploy/`.
//!
//! It lives as long as the process that made it.

use std::time::{Duration, SystemTime};

use super::{CertificatePair, Subject};

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

/// Makes a pair for this machine, the default service, and `further` names or addresses.
///
/// # Errors
///
/// If a further name cannot stand in a certificate.
pub fn self_signed(further: &[String]) -> Result<CertificatePair, rcgen::Error> {
    let subject = Subject {
        common_name: "ampoule".to_owned(),
        ca_common_name: "ampoule development CA".to_owned(),
        names: NAMES.into_iter().map(str::to_owned).chain(further.iter().cloned()).collect(),
        validity: VALIDITY,
    };
    CertificatePair::issue(subject, SystemTime::now())
}
