//! Kubernetes Secrets for plugins: the contract's `kubernetes-secrets`, answered by whoever can reach the cluster
//! ([`ClusterSecrets`]).
//!
//! The engine decides who may read what, and counts; it knows no Kubernetes.

use std::sync::Arc;

use async_trait::async_trait;
use tracing::warn;

use crate::{
    contract::ampoule::injector::kubernetes_secrets::{Host, LookupError},
    convert::MAX_ERROR,
    grants::{Grant, SecretName},
    store::PluginState,
    text::clean,
    threads::spawn_on,
};

/// Reads Kubernetes Secrets.
#[async_trait]
pub trait ClusterSecrets: Send + Sync {
    /// The value of a key, as it is now. None if there is no such Secret, or if it has no such key.
    ///
    /// # Errors
    ///
    /// If the cluster refuses, or does not answer.
    async fn read(&self, secret: &SecretName, key: &str) -> Result<Option<Vec<u8>>, ClusterSecretsError>;
}

/// Why a Secret could not be read. The texts may go to a pod's author: no value is in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterSecretsError {
    /// The cluster does not let this process read it.
    #[error("{0}")]
    Denied(String),
    /// The cluster does not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// Where there is no cluster.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NoCluster;

// === impl PluginState ===

impl Host for PluginState {
    async fn read(
        &mut self,
        namespace: String,
        name: String,
        key: String,
    ) -> wasmtime::Result<Result<Vec<u8>, LookupError>> {
        let secret = SecretName { namespace, name };
        let read = self.read_secret(secret, key).await;
        Ok(read.map_err(|error| {
            let fit = |text: String| clean(&text, MAX_ERROR);
            match error {
                LookupError::Denied(text) => LookupError::Denied(fit(text)),
                LookupError::NotFound(text) => LookupError::NotFound(fit(text)),
                LookupError::Unavailable(text) => LookupError::Unavailable(fit(text)),
            }
        }))
    }
}

impl PluginState {
    async fn read_secret(&mut self, secret: SecretName, key: String) -> Result<Vec<u8>, LookupError> {
        let Self { plugin, outbound: budget, .. } = self;
        if !plugin.grants.kubernetes_secrets.contains(&secret) {
            plugin.denied(Grant::KubernetesSecrets);
            if budget.is_news() {
                warn!(
                    plugin = plugin.name,
                    "a Kubernetes Secret was asked for that is not in grants.kubernetesSecrets"
                );
            }
            return Err(LookupError::Denied(format!("Secret {secret} is not in grants.kubernetesSecrets")));
        }
        let spent = || LookupError::Unavailable("this admission has made too many calls beyond the sandbox".to_owned());
        if !budget.call() {
            return Err(spent());
        }
        let missing = format!("Secret {secret} is not there, or has no key {key}");
        let source = Arc::clone(&plugin.shared.secrets);
        let read = spawn_on(&plugin.shared.network, async move { source.read(&secret, &key).await }).await;
        match read {
            Ok(Ok(Some(value))) if budget.bytes(value.len()) => Ok(value),
            Ok(Ok(Some(_))) => Err(spent()),
            Ok(Ok(None)) => Err(LookupError::NotFound(missing)),
            Ok(Err(ClusterSecretsError::Denied(text))) => Err(LookupError::Denied(text)),
            Ok(Err(ClusterSecretsError::Unavailable(text))) => Err(LookupError::Unavailable(text)),
            Err(error) => Err(LookupError::Unavailable(error.to_string())),
        }
    }
}

// === impl NoCluster ===

#[async_trait]
impl ClusterSecrets for NoCluster {
    async fn read(&self, _secret: &SecretName, _key: &str) -> Result<Option<Vec<u8>>, ClusterSecretsError> {
        Err(ClusterSecretsError::Unavailable("this program is not connected to a cluster".to_owned()))
    }
}
