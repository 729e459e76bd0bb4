//! Pairs that this program makes itself, in a Secret that all replicas share.
//!
//! Every replica looks after the Secret, and the version of it that a write names lets one of them renew the pair: no replica is in
//! charge, so none has to be elected or waited for.

use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use tracing::{info, warn};

use super::PairSource;
use crate::{
    Cluster,
    certs::{
        CertIssuer, CheckedPair, Ensured,
        issuer::{IssueError, Outcome},
    },
};
use ampoule_telemetry::metrics::{Metrics, Reload};

/// Between two looks at the Secret: a small part of a pair's life, in these bounds.
const SHORTEST_PERIOD: Duration = Duration::from_secs(1);
const LONGEST_PERIOD: Duration = Duration::from_secs(60);

/// The pairs of a Secret.
pub struct SecretSource {
    issuer: CertIssuer,
    cluster: Cluster,
    metrics: Metrics,
    /// The certificate that was given last, in PEM form.
    known: String,
    /// Whether the last look failed, and that was said.
    failing: bool,
}

// === impl SecretSource ===

impl SecretSource {
    /// With the pair that is to be served first.
    ///
    /// # Errors
    ///
    /// As [`CertIssuer::ensure`].
    pub async fn start(
        issuer: CertIssuer,
        cluster: Cluster,
        metrics: Metrics,
    ) -> Result<(CheckedPair, Self), IssueError> {
        let mut source = Self { issuer, cluster, metrics, known: String::new(), failing: false };
        loop {
            if let Some(pair) = source.look().await? {
                return Ok((pair, source));
            }
        }
    }

    /// The pair of the Secret, if it is another than before.
    async fn look(&mut self) -> Result<Option<CheckedPair>, IssueError> {
        let Self { issuer, cluster, known, .. } = self;
        let now = SystemTime::now();
        let Ensured { pair, outcome } = issuer.ensure(cluster, now).await?;
        if outcome != Outcome::Kept {
            info!(secret = issuer.secret, %outcome, "certificate made");
        }
        if pair.certificate_pem == *known {
            return Ok(None);
        }
        let host = cluster.host(&issuer.service);
        // It was judged a moment ago; if its time ran out since, the next look makes another.
        let Ok(mut checked) = pair.stored().check(Some(&host), now) else { return Ok(None) };
        checked.ca = pair.signers(&host, now);
        known.clone_from(&pair.certificate_pem);
        Ok(Some(checked))
    }
}

impl PairSource for SecretSource {
    async fn next(&mut self) -> CheckedPair {
        loop {
            sleep((self.issuer.validity / 60).clamp(SHORTEST_PERIOD, LONGEST_PERIOD)).await;
            match self.look().await {
                Ok(None) => self.failing = false,
                Ok(Some(pair)) => {
                    self.failing = false;
                    self.metrics.certificate_reloaded(Reload::Adopted);
                    return pair;
                }
                Err(error) => {
                    self.metrics.certificate_reloaded(Reload::Failed);
                    if !std::mem::replace(&mut self.failing, true) {
                        let error = anyhow::Error::from(error);
                        warn!(error = format!("{error:#}"), "the certificate's Secret cannot be looked after");
                    }
                }
            }
        }
    }
}
