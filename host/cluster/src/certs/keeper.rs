//! The serving certificate and its replacement while the process runs: [`CertKeeper`].
//!
//! A new pair is served after the API server trusts it; until then, the previous pair stays in use.
//! If the served pair is about to expire without a replacement, the process is not ready: a replica
//! with a newer pair should receive the requests.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    condition::{CheckedPair, format_time},
    source::PairSource,
};
use crate::registration::Trust;
use ampoule_net::tls::ServingCert;
use ampoule_telemetry::{
    metrics::{CertificateReload, Metrics},
    readiness::ReadinessGate,
};

/// Time before the expiry at which the process stops to be ready. For a short-lived certificate it
/// is a twentieth of the remaining time.
const MARGIN: Duration = Duration::from_secs(60);
/// Maximum time of one sleep: a longer sleep would miss a jump of the clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Serves the current certificate.
pub struct CertKeeper {
    cert: Arc<ServingCert>,
    gate: ReadinessGate,
    metrics: Metrics,
    trust: Option<Trust>,
    /// The CA of the served certificate, as PEM.
    ca: Option<String>,
    /// When the process stops to be ready; `None` if it already did.
    deadline: Option<SystemTime>,
}

// === impl CertKeeper ===

impl CertKeeper {
    /// Creates the keeper without a certificate. Without `trust`, the CA is trusted by other means.
    pub fn new(cert: Arc<ServingCert>, gate: ReadinessGate, metrics: Metrics, trust: Option<Trust>) -> Self {
        Self { cert, gate, metrics, trust, ca: None, deadline: None }
    }

    /// Serves a pair from now on, and requests trust in its CA only.
    pub fn serve(&mut self, pair: CheckedPair) {
        let left = pair.ends.duration_since(SystemTime::now()).unwrap_or_default();
        self.deadline = Some(pair.ends - MARGIN.min(left / 20));
        self.cert.install(pair.key);
        self.metrics.certificate_ends(pair.ends);
        self.gate.ready();
        info!(ends = format_time(pair.ends), "certificate installed");
        if let Some(trust) = &self.trust {
            trust.request(pair.ca.as_deref());
        }
        self.ca = pair.ca;
    }

    /// Serves each pair of the source after it is trusted. Never returns.
    pub async fn follow(mut self, mut source: impl PairSource) {
        loop {
            let pair = self.next(&mut source).await;
            self.serve(pair);
            // Only now: a pair that was found may still wait for trust.
            self.metrics.certificate_reloaded(CertificateReload::Adopted);
        }
    }

    async fn next(&mut self, source: &mut impl PairSource) -> CheckedPair {
        let mut trusted = pin!(next_trusted(source, self.trust.clone(), self.ca.clone()));
        loop {
            tokio::select! {
                pair = &mut trusted => return pair,
                () = sleep_until(self.deadline) => {
                    let reason = "the certificate is about to expire and has no replacement";
                    warn!("not ready: {reason}");
                    self.gate.unready(reason);
                    self.deadline = None;
                }
            }
        }
    }
}

/// Waits for a pair, and for the API server's trust in it.
async fn next_trusted(source: &mut impl PairSource, trust: Option<Trust>, previous_ca: Option<String>) -> CheckedPair {
    let pair = source.next().await;
    if let Some(trust) = trust {
        // Both CAs: the previous pair stays in use until this one is trusted.
        let previous = previous_ca.as_deref().unwrap_or_default();
        let both = pair.ca.as_ref().map(|ca| [ca.as_str(), "\n", previous].concat());
        trust.ensure(both.as_deref()).await;
    }
    pair
}

/// Waits until the system clock reaches a time; without a time, forever.
async fn sleep_until(at: Option<SystemTime>) {
    let Some(at) = at else { return std::future::pending().await };
    while let Ok(left) = at.duration_since(SystemTime::now()) {
        if left.is_zero() {
            return;
        }
        sleep(left.min(LONGEST_SLEEP)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tokio::task::JoinHandle;

    use super::*;
    use crate::certs::{
        folder::{CertFolder, write},
        pair::{CertificatePair, CertificateSubject},
        source::FolderSource,
    };
    use ampoule_telemetry::readiness::Readiness;

    const HOST: &str = "hook.flyte.svc";

    /// A running keeper for a folder.
    struct FollowedFolder {
        dir: tempfile::TempDir,
        cert: Arc<ServingCert>,
        readiness: Readiness,
        metrics: Metrics,
        task: JoinHandle<()>,
    }

    impl FollowedFolder {
        /// Starts it with a pair of this validity.
        fn start(validity: Duration) -> Self {
            let (dir, cert, metrics) = (tempfile::tempdir().unwrap(), Arc::new(ServingCert::default()), Metrics::new());
            let readiness = Readiness::default();
            let gate = readiness.add_gate("certificate", "-");
            let mut keeper = CertKeeper::new(Arc::clone(&cert), gate, metrics.clone(), None);
            write(dir.path(), &issue(validity)).unwrap();
            let folder = CertFolder::read(dir.path());
            keeper.serve(folder.load(Some(HOST), SystemTime::now()).ok().unwrap());
            let source = FolderSource::new(folder, Some(HOST.to_owned()), metrics.clone());
            let task = tokio::spawn(keeper.follow(source));
            Self { dir, cert, readiness, metrics, task }
        }

        fn dir(&self) -> &Path {
            self.dir.path()
        }

        fn serves(&self, pair: &CertificatePair) -> bool {
            self.cert.installed().is_some_and(|key| key.cert == pair.certified_key().cert)
        }

        fn counts(&self, result: &str, count: u32) -> bool {
            let line = format!("ampoule_certificate_reloads_total{{result=\"{result}\"}} {count}\n");
            self.metrics.text().contains(&line)
        }

        async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
            for _ in 0..400 {
                if holds(self) {
                    return;
                }
                assert!(!self.task.is_finished(), "the keeper never returns");
                sleep(Duration::from_millis(50)).await;
            }
            panic!("{what}: not in time; metrics:\n{}", self.metrics.text());
        }
    }

    fn issue(validity: Duration) -> CertificatePair {
        CertificatePair::issue(CertificateSubject::service("hook", "flyte", validity), SystemTime::now()).unwrap()
    }

    #[tokio::test]
    async fn a_new_pair_is_served_and_a_broken_one_is_not() {
        let followed = FollowedFolder::start(Duration::from_secs(3600));
        let (second, third) = (issue(Duration::from_secs(3600)), issue(Duration::from_secs(3600)));
        write(followed.dir(), &second).unwrap();
        followed.until("the second pair", |followed| followed.serves(&second)).await;
        assert!(followed.counts("adopted", 1));
        fs::write(followed.dir().join("tls.key"), &third.key_pem).unwrap();
        followed.until("a refusal", |followed| followed.counts("refused", 1)).await;
        assert!(followed.serves(&second) && followed.readiness.report().ready);
        write(followed.dir(), &third).unwrap();
        followed.until("the third pair", |followed| followed.serves(&third)).await;
        fs::remove_file(followed.dir().join("tls.crt")).unwrap();
        followed.until("a second refusal", |followed| followed.counts("refused", 2)).await;
        assert!(followed.serves(&third) && followed.readiness.report().ready);
    }

    #[tokio::test]
    async fn readiness_ends_before_the_expiry_and_returns_with_a_new_pair() {
        let followed = FollowedFolder::start(Duration::from_secs(3));
        let first = followed.cert.installed().unwrap();
        assert!(followed.readiness.report().ready);
        followed.until("not ready", |followed| !followed.readiness.report().ready).await;
        let lines = followed.readiness.report().lines;
        let expected = "[-]certificate failed: the certificate is about to expire and has no replacement\n";
        assert!(lines.starts_with(expected), "{lines}");
        assert_eq!(followed.cert.installed().unwrap().cert, first.cert, "it is served until it expires");
        let next = issue(Duration::from_secs(3600));
        write(followed.dir(), &next).unwrap();
        followed.until("the next pair", |followed| followed.serves(&next)).await;
        assert!(followed.readiness.report().ready);
    }
}
