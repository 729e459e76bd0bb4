//! The certificate that is served, followed for as long as the process runs: [`CertKeeper`].
//!
//! A new pair is served once the API server trusts it; until then, and if that never is, the one before is served on. When the one that is served is about to
//! end and none has followed, the process is not ready: a replica that has a newer one should be asked instead.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::sleep;
use tracing::{info, warn};

use super::{CheckedPair, condition::said, source::PairSource};
use crate::registration::Trust;
use ampoule_net::tls::ServingCert;
use ampoule_telemetry::{metrics::Metrics, readiness::Part};

/// How long before its end a certificate is no longer counted on; of one that ends soon, a twentieth of what is left of it.
const MARGIN: Duration = Duration::from_secs(60);
/// The clock may jump, which a longer sleep would miss.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Serves one certificate after the other.
pub struct CertKeeper {
    cert: Arc<ServingCert>,
    part: Part,
    metrics: Metrics,
    trust: Option<Trust>,
    /// What the certificate that is served is trusted by, in PEM form.
    ca: Option<String>,
    /// When the one that is served is no longer counted on; none if that has been said.
    last_call: Option<SystemTime>,
}

// === impl CertKeeper ===

impl CertKeeper {
    /// With no certificate yet. `trust` is how the API server comes to trust it; none leaves that to others.
    pub fn new(cert: Arc<ServingCert>, part: Part, metrics: Metrics, trust: Option<Trust>) -> Self {
        Self { cert, part, metrics, trust, ca: None, last_call: None }
    }

    /// Serves a pair from now on, and asks for trust in no other.
    pub fn serve(&mut self, pair: CheckedPair) {
        let CheckedPair { key, ends, ca } = pair;
        let now = SystemTime::now();
        let left = ends.duration_since(now).unwrap_or_default();
        self.last_call = Some(ends - MARGIN.min(left / 20));
        self.cert.install(key);
        self.metrics.certificate_ends(ends);
        self.part.ready();
        info!(ends = said(ends), "certificate installed");
        if let Some(trust) = &self.trust {
            trust.want(ca.as_deref());
        }
        self.ca = ca;
    }

    /// Serves whatever the source gives, once it is trusted. Never ends.
    pub async fn follow(mut self, mut source: impl PairSource) {
        loop {
            let pair = self.next(&mut source).await;
            self.serve(pair);
        }
    }

    async fn next(&mut self, source: &mut impl PairSource) -> CheckedPair {
        let (trust, before) = (self.trust.clone(), self.ca.clone());
        let mut trusted = pin!(async {
            let pair = source.next().await;
            if let Some(trust) = trust {
                // Both: the one before is served until this one is trusted.
                let both =
                    pair.ca.as_ref().map(|ca| [ca.as_str(), "\n", before.as_deref().unwrap_or_default()].concat());
                trust.ensure(both.as_deref()).await;
            }
            pair
        });
        loop {
            tokio::select! {
                pair = &mut trusted => return pair,
                () = last_call(self.last_call) => {
                    let reason = "the certificate is about to end, and no other has taken its place";
                    warn!("not ready: {reason}");
                    self.part.unready(reason);
                    self.last_call = None;
                }
            }
        }
    }
}

/// Returns at that time by the clock; never, if there is none.
async fn last_call(at: Option<SystemTime>) {
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

    use super::{
        super::{CertFolder, CertificatePair, FolderSource, Subject, write},
        *,
    };
    use ampoule_telemetry::readiness::Readiness;

    const HOST: &str = "hook.flyte.svc";

    /// A keeper that follows a folder, with a pair that is valid for this long.
    struct Kept {
        dir: tempfile::TempDir,
        cert: Arc<ServingCert>,
        readiness: Readiness,
        metrics: Metrics,
        task: JoinHandle<()>,
    }

    impl Kept {
        fn start(validity: Duration) -> Self {
            let (dir, cert, metrics) = (tempfile::tempdir().unwrap(), Arc::new(ServingCert::default()), Metrics::new());
            let readiness = Readiness::default();
            let mut keeper =
                CertKeeper::new(Arc::clone(&cert), readiness.part("certificate", "-"), metrics.clone(), None);
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
                assert!(!self.task.is_finished(), "it never ends");
                sleep(Duration::from_millis(50)).await;
            }
            panic!("{what}: not in time; metrics:\n{}", self.metrics.text());
        }
    }

    fn issue(validity: Duration) -> CertificatePair {
        CertificatePair::issue(Subject::service("hook", "flyte", validity), SystemTime::now()).unwrap()
    }

    #[tokio::test]
    async fn a_new_pair_is_served_and_a_broken_one_is_not() {
        let kept = Kept::start(Duration::from_secs(3600));
        let (second, third) = (issue(Duration::from_secs(3600)), issue(Duration::from_secs(3600)));
        write(kept.dir(), &second).unwrap();
        kept.until("the second pair", |kept| kept.serves(&second)).await;
        assert!(kept.counts("adopted", 1));
        fs::write(kept.dir().join("tls.key"), &third.key_pem).unwrap();
        kept.until("a refusal", |kept| kept.counts("refused", 1)).await;
        assert!(kept.serves(&second) && kept.readiness.report().ready);
        write(kept.dir(), &third).unwrap();
        kept.until("the third pair", |kept| kept.serves(&third)).await;
        fs::remove_file(kept.dir().join("tls.crt")).unwrap();
        kept.until("a second refusal", |kept| kept.counts("refused", 2)).await;
        assert!(kept.serves(&third) && kept.readiness.report().ready);
    }

    #[tokio::test]
    async fn readiness_goes_before_the_end_and_comes_back_with_a_pair() {
        let kept = Kept::start(Duration::from_secs(3));
        let first = kept.cert.installed().unwrap();
        assert!(kept.readiness.report().ready);
        kept.until("not ready", |kept| !kept.readiness.report().ready).await;
        let lines = kept.readiness.report().lines;
        let expected = "[-]certificate failed: the certificate is about to end, and no other has taken its place\n";
        assert!(lines.starts_with(expected), "{lines}");
        assert_eq!(kept.cert.installed().unwrap().cert, first.cert, "it is served to the end");
        let next = issue(Duration::from_secs(3600));
        write(kept.dir(), &next).unwrap();
        kept.until("the next pair", |kept| kept.serves(&next)).await;
        assert!(kept.readiness.report().ready);
    }
}
