//! Pairs from a folder that another program writes, such as the kubelet with a mounted Secret.
//!
//! This program only reads it. A rejected pair is checked again periodically: it may become valid
//! later.

use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tracing::warn;

use super::PairSource;
use crate::certs::{condition::CheckedPair, folder::CertFolder};
use ampoule_net::watch::Watch;
use ampoule_telemetry::metrics::{CertificateReload, Metrics};

/// Time between two checks of a rejected pair.
const RECHECK_PERIOD: Duration = Duration::from_secs(30);

/// The pairs of a folder.
pub struct FolderSource {
    watch: Watch<CertFolder>,
    host: Option<String>,
    rejected: Option<CertFolder>,
    metrics: Metrics,
}

// === impl FolderSource ===

impl FolderSource {
    /// Creates the source of pairs that replace `known` and are valid for `host`.
    pub fn new(known: CertFolder, host: Option<String>, metrics: Metrics) -> Self {
        let dir = known.dir().to_owned();
        Self { watch: Watch::new(known, move || CertFolder::read(&dir)), host, rejected: None, metrics }
    }

    /// Waits for a change of the folder, or for the next check of a rejected pair.
    async fn candidate(&mut self) -> CertFolder {
        match self.rejected.clone() {
            Some(rejected) => timeout(RECHECK_PERIOD, self.watch.changed()).await.unwrap_or(rejected),
            None => self.watch.changed().await,
        }
    }
}

impl PairSource for FolderSource {
    async fn next(&mut self) -> CheckedPair {
        loop {
            let found = self.candidate().await;
            match found.check(self.host.as_deref(), SystemTime::now()) {
                Ok(pair) => {
                    self.rejected = None;
                    return pair;
                }
                Err(_) if self.rejected.as_ref() == Some(&found) => {}
                Err(reason) => {
                    self.metrics.certificate_reloaded(CertificateReload::Refused);
                    let dir = found.dir().display();
                    warn!(%dir, reason, "rejected a new certificate; the previous one stays in use");
                    self.rejected = Some(found);
                }
            }
        }
    }
}
