//! The certificate that is served, followed for as long as the process runs: [`CertKeeper`].
//!
//! A new pair is served only if a client would take it; else the one before is served on. When the one that is served is about to
//! end and none has followed, the process is not ready: a replica that has a newer one should be asked instead.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{CertFolder, CheckedPair, condition::said};
use crate::{
    metrics::{Metrics, Reload},
    readiness::Part,
    tls::ServingCert,
    watch::Watch,
};

/// How long before its end a certificate is no longer counted on; of one that ends soon, a twentieth of what is left of it.
const MARGIN: Duration = Duration::from_secs(60);
/// A pair that was refused is looked at again: it may only have been too early for it.
const SECOND_LOOK: Duration = Duration::from_secs(30);
/// The clock may jump, which a longer sleep would miss.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Serves one certificate after the other.
pub(crate) struct CertKeeper {
    cert: Arc<ServingCert>,
    part: Part,
    metrics: Metrics,
    /// When the one that is served is no longer counted on; none if that has been said.
    last_call: Option<SystemTime>,
}

// === impl CertKeeper ===

impl CertKeeper {
    pub(crate) fn new(cert: Arc<ServingCert>, part: Part, metrics: Metrics) -> Self {
        Self { cert, part, metrics, last_call: None }
    }

    /// Serves a pair from now on.
    pub(crate) fn serve(&mut self, pair: CheckedPair) {
        let CheckedPair { key, ends, ca: _ } = pair;
        let now = SystemTime::now();
        let left = ends.duration_since(now).unwrap_or_default();
        self.last_call = Some(ends - MARGIN.min(left / 20));
        self.cert.install(key);
        self.metrics.certificate_ends(ends);
        self.part.ready();
        info!(ends = said(ends), "certificate installed");
    }

    /// Serves what is put into the folder, in whose place `known` was. Never ends.
    pub(crate) async fn follow_folder(mut self, known: CertFolder, host: Option<String>) {
        let dir = known.dir().to_owned();
        let mut watch = Watch::new(known, move || CertFolder::read(&dir));
        let mut refused: Option<CertFolder> = None;
        loop {
            let look = async {
                match &refused {
                    Some(again) => timeout(SECOND_LOOK, watch.changed()).await.ok().or_else(|| Some(again.clone())),
                    None => Some(watch.changed().await),
                }
            };
            let found = tokio::select! {
                found = look => found,
                () = last_call(self.last_call) => None,
            };
            let Some(found) = found else {
                self.give_up();
                continue;
            };
            match found.check(host.as_deref(), SystemTime::now()) {
                Ok(pair) => {
                    refused = None;
                    self.metrics.certificate_reloaded(Reload::Adopted);
                    self.serve(pair);
                }
                Err(_) if refused.as_ref() == Some(&found) => {}
                Err(reason) => {
                    self.metrics.certificate_reloaded(Reload::Refused);
                    let dir = found.dir().display();
                    warn!(%dir, reason, "a new certificate is refused, and the one before it served on");
                    refused = Some(found);
                }
            }
        }
    }

    /// The end of the certificate is near, and no other is there.
    fn give_up(&mut self) {
        let reason = "the certificate is about to end, and no other has taken its place";
        warn!("not ready: {reason}");
        self.part.unready(reason);
        self.last_call = None;
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
        super::{CertificatePair, Subject, write},
        *,
    };
    use crate::readiness::Readiness;

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
            let mut keeper = CertKeeper::new(Arc::clone(&cert), readiness.part("certificate", "-"), metrics.clone());
            write(dir.path(), &issue(validity)).unwrap();
            let folder = CertFolder::read(dir.path());
            keeper.serve(folder.load(Some(HOST), SystemTime::now()).ok().unwrap());
            let task = tokio::spawn(keeper.follow_folder(folder, Some(HOST.to_owned())));
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
