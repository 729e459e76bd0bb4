//! Pairs that this program issues, in a Secret that all replicas share.
//!
//! Every replica checks the Secret and may renew the pair. A write names the version that it
//! replaces, so only one replica succeeds; there is no leader election.

use std::time::SystemTime;

use tokio::time::sleep;
use tracing::{info, warn};

use super::PairSource;
use crate::{
    certs::{
        condition::CheckedPair,
        issuer::{CertIssuer, IssueError, IssueOutcome},
    },
    client::Cluster,
};
use ampoule_telemetry::metrics::{CertificateReload, Metrics};

/// The pairs of a Secret.
pub struct SecretSource {
    issuer: CertIssuer,
    cluster: Cluster,
    metrics: Metrics,
    /// The certificate that was returned last, as PEM.
    known: String,
    /// Whether the last check failed and was logged.
    failing: bool,
}

// === impl SecretSource ===

impl SecretSource {
    /// Ensures that a certificate pair exists. Returns it, and the source of later pairs.
    ///
    /// # Errors
    ///
    /// As for [`CertIssuer::ensure`].
    pub async fn start(
        issuer: CertIssuer,
        cluster: Cluster,
        metrics: Metrics,
    ) -> Result<(CheckedPair, Self), IssueError> {
        let mut source = Self { issuer, cluster, metrics, known: String::new(), failing: false };
        loop {
            if let Some(pair) = source.check().await? {
                return Ok((pair, source));
            }
        }
    }

    /// Returns the pair of the Secret if it changed.
    async fn check(&mut self) -> Result<Option<CheckedPair>, IssueError> {
        let now = SystemTime::now();
        let ensured = self.issuer.ensure(&self.cluster, now).await?;
        let pair = ensured.pair;
        if ensured.outcome != IssueOutcome::Kept {
            info!(secret = self.issuer.secret, outcome = %ensured.outcome, "certificate issued");
        }
        if pair.certificate_pem == self.known {
            return Ok(None);
        }
        let host = self.cluster.host(&self.issuer.service);
        // The issuer has just checked it. If it expired since, the next check issues another one.
        let Ok(mut checked) = pair.stored().check(Some(&host), now) else { return Ok(None) };
        checked.ca = pair.signers(&host, now);
        self.known = pair.certificate_pem;
        Ok(Some(checked))
    }

    /// Counts a failure, and logs the first one in a row.
    fn report_failure(&mut self, error: IssueError) {
        self.metrics.certificate_reloaded(CertificateReload::Failed);
        if !self.failing {
            let error = anyhow::Error::from(error);
            warn!(error = format!("{error:#}"), "cannot check the certificate's Secret");
        }
        self.failing = true;
    }
}

impl PairSource for SecretSource {
    async fn next(&mut self) -> CheckedPair {
        loop {
            sleep(self.issuer.check_period()).await;
            match self.check().await {
                Ok(None) => self.failing = false,
                Ok(Some(pair)) => {
                    self.failing = false;
                    return pair;
                }
                Err(error) => self.report_failure(error),
            }
        }
    }
}
