//! Pairs that somebody puts into a folder, as the kubelet does with a mounted Secret. Nothing is ever written to it.
//!
//! A pair that was refused is looked at again after a while: it may only have been too early for it.

use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tracing::warn;

use super::PairSource;
use crate::certs::{CertFolder, CheckedPair};
use ampoule_net::watch::Watch;
use ampoule_telemetry::metrics::{Metrics, Reload};

/// Between two looks at a pair that was refused.
const SECOND_LOOK: Duration = Duration::from_secs(30);

/// The pairs of a folder.
pub struct FolderSource {
    watch: Watch<CertFolder>,
    host: Option<String>,
    refused: Option<CertFolder>,
    metrics: Metrics,
}

// === impl FolderSource ===

impl FolderSource {
    /// Those that take the place of `known` and are for `host`.
    pub fn new(known: CertFolder, host: Option<String>, metrics: Metrics) -> Self {
        let dir = known.dir().to_owned();
        Self { watch: Watch::new(known, move || CertFolder::read(&dir)), host, refused: None, metrics }
    }
}

impl PairSource for FolderSource {
    async fn next(&mut self) -> CheckedPair {
        loop {
            let Self { watch, host, refused, metrics } = self;
            let found = match refused.clone() {
                Some(refused) => timeout(SECOND_LOOK, watch.changed()).await.unwrap_or(refused),
                None => watch.changed().await,
            };
            match found.check(host.as_deref(), SystemTime::now()) {
                Ok(pair) => {
                    *refused = None;
                    metrics.certificate_reloaded(Reload::Adopted);
                    return pair;
                }
                Err(_) if refused.as_ref() == Some(&found) => {}
                Err(reason) => {
                    metrics.certificate_reloaded(Reload::Refused);
                    let dir = found.dir().display();
                    warn!(%dir, reason, "a new certificate is refused, and the one before it served on");
                    *refused = Some(found);
                }
            }
        }
    }
}
