//! Trust in the webhook's CA: [`Trust`] passes it from the certificates to the registration.
//!
//! A certificate is served only after the API server trusts its CA: a certificate's keeper requests
//! trust and waits until the registration's keeper has granted it.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::ca_bundle::CaBundle;
use ampoule_config::{CertificateMode, CertificatesConfig};

/// Time in which all API servers of a cluster apply a change of the registration. They watch it,
/// which takes milliseconds.
const SETTLE: Duration = Duration::from_secs(5);
/// Time in which every replica has the new files of a mounted Secret. The kubelet takes at most two
/// minutes.
const MOUNTED: Duration = Duration::from_secs(10 * 60);

/// Timeouts for CA trust propagation.
#[derive(Clone, Copy, Debug)]
pub struct TrustTiming {
    /// Time between a registration that trusts a CA and the first certificate served from that CA.
    pub(super) settle: Duration,
    /// Time that a CA stays in the registration although this replica does not request it.
    pub(super) stay: Duration,
}

/// The requested trust.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustRequest {
    /// The requested CAs; `None` leaves the `caBundle` to its manager.
    pub(super) bundle: Option<CaBundle>,
    /// The number of this request. A later request has a higher number.
    pub(super) number: u64,
}

/// Requests the API server's trust. Cheap to clone.
#[derive(Clone)]
pub struct Trust {
    requested: Arc<watch::Sender<TrustRequest>>,
    granted: watch::Receiver<u64>,
}

// === impl TrustTiming ===

impl TrustTiming {
    /// Returns the timeouts for a source of certificates.
    pub fn from_config(certificates: &CertificatesConfig) -> Self {
        match certificates.mode {
            CertificateMode::Folder => Self { settle: SETTLE, stay: MOUNTED },
            // Fractions of the validity, so that tests with short-lived certificates behave as in
            // production.
            CertificateMode::Cluster => Self {
                settle: (certificates.validity / 30).clamp(Duration::from_secs(1), SETTLE),
                stay: certificates.validity / 10,
            },
        }
    }
}

// === impl Trust ===

impl Trust {
    /// Creates it with the keeper's ends: the requests, and the number of the last granted one.
    pub(super) fn new() -> (Self, watch::Receiver<TrustRequest>, watch::Sender<u64>) {
        let (requested, requests) = watch::channel(TrustRequest::default());
        let (grants, granted) = watch::channel(0);
        (Self { requested: Arc::new(requested), granted }, requests, grants)
    }

    /// Requests trust in these CAs only, in PEM format, and returns the number of the request.
    /// `None` leaves the `caBundle` to its manager.
    pub fn request(&self, bundle: Option<&str>) -> u64 {
        let bundle = bundle.map(CaBundle::parse);
        let mut number = 0;
        self.requested.send_modify(|requested| {
            number = requested.number + 1;
            *requested = TrustRequest { bundle, number };
        });
        number
    }

    /// Requests trust and waits until the API server trusts the CAs, without a timeout.
    pub async fn ensure(&self, bundle: Option<&str>) {
        let number = self.request(bundle);
        // An error means that the keeper has ended, and then the process ends, too.
        let _ = self.granted.clone().wait_for(|granted| *granted >= number).await;
    }
}
