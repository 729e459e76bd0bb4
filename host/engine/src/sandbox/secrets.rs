//! [`read_secret`] and [`first_existing`]: read Kubernetes Secrets for a plugin.
//!
//! They check the grant and count the reads. [`ClusterSecrets`] is the interface to the cluster.

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc};

use ampoule_core::{ClusterSecrets, ClusterSecretsError, Grant, LabelledSecrets, SecretName, SecretValue};
use futures_util::{
    future::{FutureExt as _, poll_immediate},
    stream::{self, StreamExt as _},
};
use tracing::warn;

use super::{
    context::PluginContext,
    facts::{KeyOfSecret, SearchedKeys},
    outbound::budget::OutboundBudget,
};
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

/// The selectors of which a Secret must match one. None if a grant names the Secret.
type Selectors = Arc<[LabelledSecrets]>;

/// What the cluster answers to a read.
type ClusterAnswer = Result<Option<Vec<u8>>, ClusterSecretsError>;

/// Reads a Secret for a plugin, if a grant covers it and the budget allows it.
pub(crate) async fn read_secret(
    plugin: &PluginContext,
    budget: &OutboundBudget,
    secret: SecretName,
    key: String,
) -> Result<Vec<u8>, SecretReadError> {
    let selectors = permit(plugin, budget, &secret)?;
    let missing = missing(&secret, &key, &selectors);
    let source = Arc::clone(&plugin.services.secrets);
    let answer = run_on(&plugin.services.network, async move { source.read(&secret, &key, &selectors).await }).await;
    value(budget, answer?)?.ok_or(SecretReadError::NotFound(missing))
}

/// Returns the position of the first of these keys that exists. A few are read at the same time, in
/// their order, and none after the first that exists.
pub(crate) async fn first_existing(
    plugin: &PluginContext,
    budget: &Arc<OutboundBudget>,
    keys: SearchedKeys,
) -> Result<Option<usize>, SecretReadError> {
    let mut permits = Vec::with_capacity(keys.len());
    for (secret, _) in &*keys {
        let permit = permit(plugin, budget, secret);
        let is_last = matches!(permit, Err(SecretReadError::Unavailable(_)));
        permits.push(permit);
        if is_last {
            break;
        }
    }
    let (source, budget) = (Arc::clone(&plugin.services.secrets), Arc::clone(budget));
    run_on(&plugin.services.network, async move { find_first(&*source, &budget, &keys, permits).await }).await?
}

async fn find_first(
    source: &dyn ClusterSecrets,
    budget: &OutboundBudget,
    keys: &[KeyOfSecret],
    permits: Vec<Result<Selectors, SecretReadError>>,
) -> Result<Option<usize>, SecretReadError> {
    let mut reads = VecDeque::with_capacity(keys.len());
    for (key, permit) in keys.iter().zip(permits) {
        reads.push_back(exists(source, budget, key, permit).boxed());
    }
    let mut search = Search::default();
    // Answers that are in memory need no queue.
    while let Some(mut read) = reads.pop_front() {
        let Some(answer) = poll_immediate(&mut read).await else {
            reads.push_front(read);
            break;
        };
        if let ControlFlow::Break(result) = search.next(answer) {
            return result;
        }
    }
    let mut answers = stream::iter(reads).buffered(MAX_AT_ONCE);
    while let Some(answer) = answers.next().await {
        if let ControlFlow::Break(result) = search.next(answer) {
            return result;
        }
    }
    search.denied.map_or(Ok(None), Err)
}

async fn exists(
    source: &dyn ClusterSecrets,
    budget: &OutboundBudget,
    (secret, key): &KeyOfSecret,
    permit: Result<Selectors, SecretReadError>,
) -> Result<bool, SecretReadError> {
    let answer = source.read(secret, key, &permit?).await;
    // The wrapper wipes the bytes, also of answers behind the first that exists.
    Ok(value(budget, answer)?.map(SecretValue::new).is_some())
}

/// A search for the first key that exists, in order.
#[derive(Default)]
struct Search {
    /// The keys that do not exist.
    passed: usize,
    /// The first key that may not be read. It is the error if no key exists.
    denied: Option<SecretReadError>,
}

// === impl Search ===

impl Search {
    /// Adds the answer about the next key. Breaks with the result of the search.
    fn next(&mut self, exists: Result<bool, SecretReadError>) -> ControlFlow<Result<Option<usize>, SecretReadError>> {
        match exists {
            Ok(true) => return ControlFlow::Break(Ok(Some(self.passed))),
            Ok(false) => {}
            Err(error @ SecretReadError::Denied(_)) => _ = self.denied.get_or_insert(error),
            Err(error) => return ControlFlow::Break(Err(error)),
        }
        self.passed += 1;
        ControlFlow::Continue(())
    }
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

/// Checks the grants for a read, and counts the call.
fn permit(plugin: &PluginContext, budget: &OutboundBudget, secret: &SecretName) -> Result<Selectors, SecretReadError> {
    let selectors = match plugin.grants.kubernetes_secrets.contains(secret) {
        true => Some(Selectors::default()),
        false => plugin.grants.labelled_secrets.of(&secret.namespace),
    };
    let selectors = selectors.ok_or_else(|| denied(plugin, budget, secret))?;
    if budget.count_call() { Ok(selectors) } else { Err(budget_exceeded()) }
}

/// The message for a Secret without a value.
fn missing(secret: &SecretName, key: &str, selectors: &[LabelledSecrets]) -> String {
    if selectors.is_empty() {
        format!("Secret {secret} does not exist or has no key {key}")
    } else {
        format!("Secret {secret} does not exist, has no key {key}, or lacks the labels of the grant")
    }
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

// === impl SecretReadError ===

impl From<RunError> for SecretReadError {
    fn from(error: RunError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
