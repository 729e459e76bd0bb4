//! [`read_secret`] and [`first_existing`]: read Kubernetes Secrets for a plugin.
//!
//! They check the grant and count the reads. [`ClusterSecrets`] is the interface to the cluster.

use std::sync::Arc;

use ampoule_core::{ClusterSecrets, ClusterSecretsError, Grant, LabelledSecrets, SecretName, SecretValue};
use futures_util::stream::{self, StreamExt as _};
use tracing::warn;

use super::{context::PluginContext, outbound::budget::OutboundBudget};
use crate::{error::RunError, threads::run_on};

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

/// Reads of one call at the same time. Each can hold the largest Secret, of 1 MiB, in memory.
const MAX_AT_ONCE: usize = 4;

/// A read that a grant covers and the budget allows.
struct PermittedRead {
    secret: SecretName,
    key: String,
    selectors: Vec<LabelledSecrets>,
}

/// What the cluster answers to a read.
type ClusterAnswer = Result<Option<Vec<u8>>, ClusterSecretsError>;

/// Reads a Secret for a plugin, if a grant covers it and the budget allows it.
pub(crate) async fn read_secret(
    plugin: &PluginContext,
    budget: &OutboundBudget,
    secret: SecretName,
    key: String,
) -> Result<Vec<u8>, SecretReadError> {
    let read = PermittedRead::new(plugin, budget, secret, key)?;
    let missing = read.missing();
    let source = Arc::clone(&plugin.services.secrets);
    let answer = run_on(&plugin.services.network, async move { read.run(&*source).await }).await;
    value(budget, answer?)?.ok_or(SecretReadError::NotFound(missing))
}

/// Returns the position of the first of these keys that exists. A few are read at the same time, in
/// their order, and none after the first that exists.
pub(crate) async fn first_existing(
    plugin: &PluginContext,
    budget: &Arc<OutboundBudget>,
    keys: Vec<(SecretName, String)>,
) -> Result<Option<usize>, SecretReadError> {
    let permit = |(secret, key)| PermittedRead::new(plugin, budget, secret, key);
    let mut permitted = Vec::new();
    for read in keys.into_iter().map(permit) {
        let is_last = matches!(read, Err(SecretReadError::Unavailable(_)));
        permitted.push(read);
        if is_last {
            break;
        }
    }
    let (source, budget) = (Arc::clone(&plugin.services.secrets), Arc::clone(budget));
    run_on(&plugin.services.network, async move { find_first(&*source, &budget, permitted).await }).await?
}

async fn find_first(
    source: &dyn ClusterSecrets,
    budget: &OutboundBudget,
    permitted: Vec<Result<PermittedRead, SecretReadError>>,
) -> Result<Option<usize>, SecretReadError> {
    // The wrapper wipes the bytes, also of answers behind the first that exists.
    let exists = async |read: Result<PermittedRead, SecretReadError>| {
        Ok(value(budget, read?.run(source).await)?.map(SecretValue::new).is_some())
    };
    let reads = permitted.into_iter().map(exists);
    let mut answers = stream::iter(reads).buffered(MAX_AT_ONCE).enumerate();
    let mut denied = None;
    while let Some((position, answer)) = answers.next().await {
        match answer {
            Ok(true) => return Ok(Some(position)),
            Ok(false) => {}
            Err(error @ SecretReadError::Denied(_)) => _ = denied.get_or_insert(error),
            Err(error) => return Err(error),
        }
    }
    denied.map_or(Ok(None), Err)
}

/// The value in an answer, whose bytes count towards the budget.
fn value(budget: &OutboundBudget, answer: ClusterAnswer) -> Result<Option<Vec<u8>>, SecretReadError> {
    match answer {
        Ok(Some(value)) if !budget.count_bytes(value.len()) => {
            drop(SecretValue::new(value));
            Err(budget_exceeded())
        }
        Ok(value) => Ok(value),
        Err(ClusterSecretsError::Denied(text)) => Err(SecretReadError::Denied(text)),
        Err(ClusterSecretsError::Unavailable(text)) => Err(SecretReadError::Unavailable(text)),
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

/// Reports a read that no grant covers.
fn denied(plugin: &PluginContext, budget: &OutboundBudget, secret: &SecretName) -> SecretReadError {
    plugin.report_denied(Grant::KubernetesSecrets);
    let text = format!("Secret {secret} is not in grants.kubernetesSecrets");
    if budget.is_first_problem() && !plugin.diverts_warning(&text) {
        warn!(
            plugin = plugin.name,
            %secret,
            "read of a Kubernetes Secret refused: the Secret is not in grants.kubernetesSecrets"
        );
    }
    SecretReadError::Denied(text)
}

fn budget_exceeded() -> SecretReadError {
    SecretReadError::Unavailable(
        "this admission exceeded its limit of outbound calls (injectors[].limits.outboundCalls) or bytes".to_owned(),
    )
}

// === impl PermittedRead ===

impl PermittedRead {
    /// Checks the grants, and counts the call.
    fn new(
        plugin: &PluginContext,
        budget: &OutboundBudget,
        secret: SecretName,
        key: String,
    ) -> Result<Self, SecretReadError> {
        let Some(selectors) = covering(plugin, &secret) else {
            return Err(denied(plugin, budget, &secret));
        };
        if !budget.count_call() {
            return Err(budget_exceeded());
        }
        Ok(Self { secret, key, selectors })
    }

    async fn run(&self, source: &dyn ClusterSecrets) -> ClusterAnswer {
        source.read(&self.secret, &self.key, &self.selectors).await
    }

    /// The message for a Secret without a value.
    fn missing(&self) -> String {
        let Self { secret, key, selectors } = self;
        if selectors.is_empty() {
            format!("Secret {secret} does not exist or has no key {key}")
        } else {
            format!("Secret {secret} does not exist, has no key {key}, or lacks the labels of the grant")
        }
    }
}

// === impl SecretReadError ===

impl From<RunError> for SecretReadError {
    fn from(error: RunError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
