//! [`PluginSession`]: one plugin during one admission.
//!
//! A request gets a recorded answer if the plugin would give the same one again. Otherwise an
//! instance answers, which serves the requests of one pod as long as it answers with edits. After
//! any other answer the session drops the instance and its permit, because the next plugin is
//! called and may take long: instances of one plugin do not wait for those of another. The next
//! request of the same pod gets a new instance.
//!
//! Therefore an admission that waits for a plugin holds permits only of plugins that come later in
//! the order of injectors. Two admissions can wait for each other only if the engine has fewer
//! permits than its plugins together, and only until the wait times out.

use std::sync::Arc;

use ampoule_core::{CallOutcome, Injection, InjectionError, InjectorSession, LazyPodView, PodEdit, SecretRequest};
use async_trait::async_trait;

use super::{
    caller::{PluginCaller, SessionProgress},
    failure::{Failure, PluginIdentity},
    prepared::PreparedPlugin,
    timing::{CallTiming, ObserveOnDrop},
    values::FetchProblem,
};
use crate::sandbox::answer::Plan;

/// One plugin during one admission.
pub(crate) struct PluginSession {
    caller: PluginCaller,
    progress: SessionProgress,
    warnings: Vec<String>,
}

/// The edits of an answer with their values, or the plugin's reason for a refusal.
type CallAnswer = Result<Vec<PodEdit>, InjectionError>;

// === impl PluginSession ===

impl PluginSession {
    pub(crate) fn new(plugin: Arc<PreparedPlugin>) -> Self {
        Self { caller: PluginCaller::new(plugin), progress: SessionProgress::default(), warnings: Vec::new() }
    }

    /// Answers a request. The plugin has to answer within its deadline. The wait for a permit has
    /// its own limit.
    async fn call(
        &mut self,
        request: &SecretRequest,
        pod: &LazyPodView,
        timing: &mut CallTiming,
    ) -> Result<CallAnswer, Failure> {
        // Taken out, and put back only after edits: an instance whose call failed or was aborted
        // must not be called again.
        let mut progress = std::mem::take(&mut self.progress).for_next_request();
        let caller = &self.caller;
        let planned = match caller.recall(&mut progress, request, pod, timing).await? {
            Some(planned) => planned,
            None => match caller.plan(&mut progress, request, pod, timing).await? {
                Plan::Inject(planned) => planned,
                Plan::Decline(reason) => return Ok(Err(reason)),
                Plan::FailedEdit(error) => return Err(Failure::InvalidEdit(error)),
                Plan::Nothing => return Err(Failure::NoAnswer),
            },
        };
        let edits = match caller.keep_promises(&mut progress, &planned, timing).await {
            Ok(values) => values.replace(planned.edits, caller.fetch_place())?,
            Err(FetchProblem::Declined(reason) | FetchProblem::LoginRefused(reason)) => return Ok(Err(reason)),
            Err(FetchProblem::Failed(failure)) => return Err(failure),
        };
        self.warnings = planned.warnings;
        if progress.is_usable() {
            self.progress = progress;
        }
        Ok(Ok(edits))
    }
}

#[async_trait]
impl InjectorSession for PluginSession {
    async fn inject(&mut self, request: &SecretRequest, pod: &LazyPodView) -> Injection {
        let plugin = Arc::clone(self.caller.plugin());
        let limits = &plugin.context.limits;
        let mut observed = ObserveOnDrop::start(&*plugin.context.observer);
        let answer = self.call(request, pod, &mut observed.timing).await;
        let identity = PluginIdentity { name: &plugin.context.name, version: &plugin.info.version };
        let injection = answer.map_err(|failure| failure.into_injector_failure(&identity, limits));
        observed.outcome = CallOutcome::from_injection(&injection);
        injection
    }

    fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}
