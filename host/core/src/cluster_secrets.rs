//! [`ClusterSecrets`]: reads Kubernetes Secrets for plugins, and requests tokens for logins.
//!
//! The Kubernetes client implements it. The engine checks the grants and counts the reads.

use async_trait::async_trait;
use secrecy::SecretString;

use crate::secret_name::{LabelledSecrets, SecretName};

/// Reads Kubernetes Secrets, and requests tokens of this process's own service account.
#[async_trait]
pub trait ClusterSecrets: Send + Sync {
    /// Returns the current value of a key. `None` if the Secret does not exist, lacks the key, or
    /// matches none of the selectors. Without selectors, its labels do not matter. The selectors
    /// are of the Secret's namespace.
    ///
    /// # Errors
    ///
    /// If the cluster refuses, or does not answer.
    async fn read(
        &self,
        secret: &SecretName,
        key: &str,
        selectors: &[LabelledSecrets],
    ) -> Result<Option<Vec<u8>>, ClusterSecretsError>;

    /// Requests a short-lived token of this process's service account for an audience.
    ///
    /// # Errors
    ///
    /// If the process has no service account, or if the cluster refuses or does not answer.
    async fn request_token(&self, audience: &str) -> Result<SecretString, TokenRequestError> {
        let _ = audience;
        Err(TokenRequestError::NoAccount("this program is not connected to a cluster".to_owned()))
    }
}

/// Why the API server issued no token. The texts are for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRequestError {
    /// The cluster does not allow this process to request it.
    #[error("{0}")]
    Denied(String),
    /// The process has no service account.
    #[error("{0}")]
    NoAccount(String),
    /// The cluster does not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// Why a Secret could not be read. The texts never contain a value, because pod authors may see
/// them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterSecretsError {
    /// The cluster does not allow this process to read it.
    #[error("{0}")]
    Denied(String),
    /// The cluster does not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// The implementation for a process without a cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCluster;

// === impl NoCluster ===

#[async_trait]
impl ClusterSecrets for NoCluster {
    async fn read(
        &self,
        _secret: &SecretName,
        _key: &str,
        _selectors: &[LabelledSecrets],
    ) -> Result<Option<Vec<u8>>, ClusterSecretsError> {
        // A retry does not help.
        Err(ClusterSecretsError::Denied("this program is not connected to a cluster".to_owned()))
    }
}
