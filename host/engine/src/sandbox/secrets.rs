//! [`read_secret`]: reads a Kubernetes Secret for a plugin.
//!
//! It checks the grant and counts the read. [`ClusterSecrets`](ampoule_core::ClusterSecrets) is the
//! interface to the cluster.

use ampoule_core::SecretName;
use ampoule_core::{ClusterSecretsError, Grant};
use std::sync::Arc;

use tracing::warn;

use super::{context::PluginContext, outbound::budget::OutboundBudget};
use crate::threads::spawn_on;

/// Why a plugin did not get a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretReadError {
    /// The plugin or the webhook lacks the permission.
    Denied(String),
    /// The Secret does not exist, or lacks the key.
    NotFound(String),
    /// The cluster does not answer, or the admission has used up its budget.
    Unavailable(String),
}

/// Reads a Secret for a plugin, if a grant covers it and the budget allows it.
pub(crate) async fn read_secret(
    plugin: &PluginContext,
    budget: &OutboundBudget,
    secret: SecretName,
    key: String,
) -> Result<Vec<u8>, SecretReadError> {
    if !plugin.grants.kubernetes_secrets.contains(&secret) {
        plugin.report_denied(Grant::KubernetesSecrets);
        if budget.is_first_problem() {
            warn!(
                plugin = plugin.name,
                "read of a Kubernetes Secret refused: the Secret is not in grants.kubernetesSecrets"
            );
        }
        return Err(SecretReadError::Denied(format!("Secret {secret} is not in grants.kubernetesSecrets")));
    }
    if !budget.count_call() {
        return Err(budget_exceeded());
    }
    let missing = format!("Secret {secret} does not exist or has no key {key}");
    let source = Arc::clone(&plugin.services.secrets);
    let read = spawn_on(&plugin.services.network, async move { source.read(&secret, &key).await }).await;
    match read {
        Ok(Ok(Some(value))) if budget.count_bytes(value.len()) => Ok(value),
        Ok(Ok(Some(_))) => Err(budget_exceeded()),
        Ok(Ok(None)) => Err(SecretReadError::NotFound(missing)),
        Ok(Err(ClusterSecretsError::Denied(text))) => Err(SecretReadError::Denied(text)),
        Ok(Err(ClusterSecretsError::Unavailable(text))) => Err(SecretReadError::Unavailable(text)),
        Err(error) => Err(SecretReadError::Unavailable(error.to_string())),
    }
}

fn budget_exceeded() -> SecretReadError {
    SecretReadError::Unavailable("this admission exceeded its limit of outbound calls or bytes".to_owned())
}
