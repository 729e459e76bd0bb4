//! What the API server is to trust, between the one who serves a certificate and the one who keeps the registration: [`Trust`].
//!
//! A certificate is served only once the API server trusts its CA, so whoever changes it waits here.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::CaBundle;
use ampoule_config::{CertificateMode, CertificatesConfig};

/// In which the API servers of a cluster notice a change of the registration; theirs is a watch, which takes milliseconds.
const SETTLE: Duration = Duration::from_secs(5);
/// In which every replica has the new files of a Secret that is mounted; the kubelet takes two minutes at most.
const MOUNTED: Duration = Duration::from_secs(10 * 60);

/// How long what takes.
#[derive(Clone, Copy, Debug)]
pub struct TrustTiming {
    /// Between a registration that trusts a CA and the first certificate of it that is served.
    pub(super) settle: Duration,
    /// How long a CA stays that this replica does not ask for.
    pub(super) stay: Duration,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// None leaves the `caBundle` to others.
    pub(super) bundle: Option<CaBundle>,
    /// Counts the wishes.
    pub(super) number: u64,
}

/// Asks for the API server's trust. Cheap to clone.
#[derive(Clone)]
pub struct Trust {
    wanted: Arc<watch::Sender<Wanted>>,
    done: watch::Receiver<u64>,
}

// === impl TrustTiming ===

impl TrustTiming {
    pub fn of(certificates: &CertificatesConfig) -> Self {
        match certificates.mode {
            CertificateMode::Folder => Self { settle: SETTLE, stay: MOUNTED },
            // Fractions, so that a short life shows what a long one does.
            CertificateMode::Cluster => Self {
                settle: (certificates.validity / 30).clamp(Duration::from_secs(1), SETTLE),
                stay: certificates.validity / 10,
            },
        }
    }
}

// === impl Trust ===

impl Trust {
    /// With the other side of it: wishes, and the number of the last one that was granted.
    pub(super) fn new() -> (Self, watch::Receiver<Wanted>, watch::Sender<u64>) {
        let (wanted, wishes) = watch::channel(Wanted::default());
        let (granted, done) = watch::channel(0);
        (Self { wanted: Arc::new(wanted), done }, wishes, granted)
    }

    /// Asks for this trust and no other, in PEM form; none leaves it to others.
    pub fn want(&self, bundle: Option<&str>) -> u64 {
        let bundle = bundle.map(CaBundle::parse);
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            number = wanted.number + 1;
            *wanted = Wanted { bundle, number };
        });
        number
    }

    /// Asks, and waits until the API server trusts, however long that takes.
    pub async fn ensure(&self, bundle: Option<&str>) {
        let number = self.want(bundle);
        // It errors once the keeper is gone, and then the process is about to end.
        let _ = self.done.clone().wait_for(|done| *done >= number).await;
    }
}
