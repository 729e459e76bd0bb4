//! [`Trial`]: calls a loaded plugin with a secret and a pod that do not exist.
//!
//! It finds plugins that trap, and plugins whose answers differ.

use std::{sync::Arc, time::Duration};

use ampoule_core::{ContainerKind, ContainerView, MountRequirement, PodEdit, PodView, SecretRequest};

use super::{
    failure::Failure, load::failure_reason, prepared::PreparedPlugin, session::PluginSession, timing::CallTiming,
};
use crate::error::LoadErrorKind;

/// Time for one call of `inject`. It is short: the trial finds plugins that trap, and has no use
/// for a late answer.
const DEADLINE: Duration = Duration::from_secs(1);

/// The result of a trial without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// The plugin answers, or is slow.
    Good,
    /// The plugin answers the same request with different edits.
    Differs,
}

/// Calls a plugin twice, and compares the edits.
pub(crate) async fn try_inject(plugin: Arc<PreparedPlugin>) -> Result<Trial, LoadErrorKind> {
    let Some(first) = call_once(&plugin).await? else {
        return Ok(Trial::Good);
    };
    match call_once(&plugin).await? {
        Some(second) if second != first => Ok(Trial::Differs),
        _ => Ok(Trial::Good),
    }
}

/// Returns the edits of a fresh instance. `None` if it answers with an error, or not in time.
async fn call_once(plugin: &Arc<PreparedPlugin>) -> Result<Option<Vec<PodEdit>>, LoadErrorKind> {
    let limits = &plugin.context.limits;
    let deadline = limits.deadline.min(DEADLINE);
    let mut session = PluginSession::new(Arc::clone(plugin));
    match session.call(&trial_request(), &trial_pod(), deadline, &mut CallTiming::default()).await {
        Ok(answer) => Ok(answer.ok()),
        Err(Failure::Deadline | Failure::Busy) => Ok(None),
        Err(failure) => Err(LoadErrorKind::Inject(failure_reason(&failure, limits))),
    }
}

fn trial_request() -> SecretRequest {
    SecretRequest {
        group: "ampoule.dev".to_owned(),
        key: "trial".to_owned(),
        mount: MountRequirement::EnvVar,
        ..SecretRequest::default()
    }
}

fn trial_pod() -> PodView {
    PodView {
        namespace: "ampoule".to_owned(),
        name: "trial".to_owned(),
        containers: vec![ContainerView { name: "trial".to_owned(), kind: ContainerKind::Main }],
        ..PodView::default()
    }
}
