//! Restores the Secret of a pair that `ampoule init-certs` copied into the folder:
//! [`SecretRestorer`].
//!
//! If the Secret is deleted while pods run, the next pod would issue a pair with another CA. The
//! running replicas write their own pair back, so that all replicas keep the same one.

use std::{path::PathBuf, time::SystemTime};

use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    folder::CertFolder,
    issuer::{CertIssuer, IssueError},
};
use crate::client::Cluster;

/// Writes the pair of a folder into a Secret that was deleted.
pub struct SecretRestorer {
    /// The Secret.
    pub issuer: CertIssuer,
    /// The folder with the pair of the Secret.
    pub folder: PathBuf,
    /// The API server.
    pub cluster: Cluster,
}

// === impl SecretRestorer ===

impl SecretRestorer {
    /// Checks the Secret again and again. Never returns.
    pub async fn run(self) {
        let mut is_failing = false;
        loop {
            sleep(self.issuer.check_period()).await;
            match self.restore().await {
                Ok(is_restored) => {
                    is_failing = false;
                    if is_restored {
                        info!(secret = self.issuer.secret, "the deleted certificate Secret is restored");
                    }
                }
                // Only the first one in a row: the pair in the folder serves on.
                Err(error) if !is_failing => {
                    is_failing = true;
                    let error = anyhow::Error::from(error);
                    warn!(error = format!("{error:#}"), "cannot check the certificate's Secret");
                }
                Err(_) => {}
            }
        }
    }

    /// Creates the Secret if it does not exist, and returns whether it did.
    async fn restore(&self) -> Result<bool, IssueError> {
        if self.issuer.exists(&self.cluster).await? {
            return Ok(false);
        }
        let host = self.cluster.host(&self.issuer.service);
        let folder = CertFolder::read(&self.folder);
        match folder.check(Some(&host), SystemTime::now()) {
            Ok(_) => self.issuer.create(&self.cluster, &folder.pair()).await,
            // The next pod issues a pair.
            Err(_) => Ok(false),
        }
    }
}
