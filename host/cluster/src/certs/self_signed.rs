//! Self-signed certificates for development: [`self_signed`].
//!
//! The pair exists only in the memory of the process that issued it.

use std::time::{Duration, SystemTime};

use super::pair::{CertificatePair, CertificateSubject};

/// Names of every such certificate: this machine, and the Service of the manifests in `deploy/`.
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

/// Issues a pair for this machine, the default Service, and `further` names or addresses.
///
/// # Errors
///
/// A further name is not allowed in a certificate.
pub fn self_signed(further: &[String]) -> Result<CertificatePair, rcgen::Error> {
    let subject = CertificateSubject {
        common_name: "ampoule".to_owned(),
        ca_common_name: "ampoule development CA".to_owned(),
        names: NAMES.into_iter().map(str::to_owned).chain(further.iter().cloned()).collect(),
        validity: VALIDITY,
    };
    CertificatePair::issue(subject, SystemTime::now())
}
