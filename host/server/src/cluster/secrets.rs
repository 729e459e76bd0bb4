//! Secrets of the cluster for plugins that were granted some: [`ClusterReader`].
//!
//! It connects when a plugin first asks: a process whose plugins were granted none asks the API server nothing on their behalf.

use ampoule_engine::{ClusterSecrets, ClusterSecretsError, SecretName};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use tokio::sync::OnceCell;
use tracing::warn;

use super::{Cluster, ClusterError};

/// Reads Secrets with the rights of this process.
#[derive(Default)]
pub(crate) struct ClusterReader(OnceCell<Cluster>);

// === impl ClusterReader ===

#[async_trait]
impl ClusterSecrets for ClusterReader {
    async fn read(&self, secret: &SecretName, key: &str) -> Result<Option<Vec<u8>>, ClusterSecretsError> {
        match self.get(secret).await {
            Ok(found) => {
                Ok(found.and_then(|secret| secret.data).and_then(|mut data| data.remove(key)).map(|value| value.0))
            }
            Err(ClusterError::Refused { code: 403, .. }) => {
                let reason = format!(
                    "the API server does not let the webhook read Secret {secret}: its role has no `get` on it"
                );
                Err(ClusterSecretsError::Denied(reason))
            }
            Err(error) => {
                warn!(%secret, %error, "a Secret that a plugin was granted cannot be read");
                Err(ClusterSecretsError::Unavailable(format!("the API server does not answer for Secret {secret}")))
            }
        }
    }
}

impl ClusterReader {
    async fn get(&self, secret: &SecretName) -> Result<Option<Secret>, ClusterError> {
        let SecretName { namespace, name } = secret;
        let cluster = self.0.get_or_try_init(Cluster::connect).await?;
        let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), namespace);
        Ok(secrets.get_opt(name).await?)
    }
}
