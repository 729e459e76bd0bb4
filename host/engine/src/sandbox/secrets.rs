//! [`read_secret`]: reads a Kubernetes Secret for a plugin.
//!
//! It checks the grant and counts the read. [`ClusterSecrets`](ampoule_core::ClusterSecrets) is the
//! interface to the cluster.

use std::sync::Arc;

use ampoule_core::{ClusterSecretsError, Grant, LabelledSecrets, SecretName};
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
    let Some(selectors) = covering(plugin, &secret) else {
        plugin.report_denied(Grant::KubernetesSecrets);
        let text = format!("Secret {secret} is not in grants.kubernetesSecrets");
        if budget.is_first_problem() && !plugin.diverts_warning(&text) {
            warn!(
                plugin = plugin.name,
                %secret,
                "read of a Kubernetes Secret refused: the Secret is not in grants.kubernetesSecrets"
            );
        }
        return Err(SecretReadError::Denied(text));
    };
    if !budget.count_call() {
        return Err(budget_exceeded());
    }
    let missing = if selectors.is_empty() {
        format!("Secret {secret} does not exist or has no key {key}")
    } else {
        format!("Secret {secret} does not exist, has no key {key}, or lacks the labels of the grant")
    };
    let source = Arc::clone(&plugin.services.secrets);
    let read = spawn_on(&plugin.services.network, async move { source.read(&secret, &key, &selectors).await }).await;
    match read {
        Ok(Ok(Some(value))) if budget.count_bytes(value.len()) => Ok(value),
        Ok(Ok(Some(_))) => Err(budget_exceeded()),
        Ok(Ok(None)) => Err(SecretReadError::NotFound(missing)),
        Ok(Err(ClusterSecretsError::Denied(text))) => Err(SecretReadError::Denied(text)),
        Ok(Err(ClusterSecretsError::Unavailable(text))) => Err(SecretReadError::Unavailable(text)),
        Err(error) => Err(SecretReadError::Unavailable(error.to_string())),
    }
}

/// The selectors of which a Secret must match one; none if a grant names it. `None` if no grant
/// covers it.
fn covering(plugin: &PluginContext, secret: &SecretName) -> Option<Vec<LabelledSecrets>> {
    if plugin.grants.kubernetes_secrets.contains(secret) {
        return Some(Vec::new());
    }
    let selectors = plugin.grants.labelled_secrets.iter().filter(|selector| selector.namespace == secret.namespace);
    let selectors: Vec<_> = selectors.cloned().collect();
    (!selectors.is_empty()).then_some(selectors)
}

fn budget_exceeded() -> SecretReadError {
    SecretReadError::Unavailable("this admission exceeded its limit of outbound calls or bytes".to_owned())
}
