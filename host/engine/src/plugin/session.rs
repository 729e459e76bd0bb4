//! [`PluginSession`]: one plugin during one admission. It creates the instance at the first
//! request.
//!
//! The instance serves the requests of one pod, as long as it answers with edits. After any other
//! answer the session drops the instance and its permit, because the next plugin is called and may
//! take long: instances of one plugin do not wait for those of another. The next request of the
//! same pod gets a new instance.
//!
//! Therefore an admission that waits for a plugin holds permits only of plugins that come later in
//! the order of injectors. Two admissions can wait for each other only if the engine has fewer
//! permits than its plugins together, and only until the wait times out.

use std::{sync::Arc, time::Duration};

use ampoule_core::{CallOutcome, Injection, InjectionError, InjectorSession, LazyPodView, SecretRequest};
use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    failure::{Failure, PluginIdentity},
    instance::{PlannedInjection, PluginInstance},
    permits::InstancePermit,
    prepared::PreparedPlugin,
    timing::{CallPhase, CallTiming, ObserveOnDrop, Stopwatch, measure_waits},
};
use crate::sandbox::budgets::AdmissionBudgets;

/// One plugin during one admission.
pub(crate) struct PluginSession {
    plugin: Arc<PreparedPlugin>,
    budgets: AdmissionBudgets,
    instance: Option<PermittedInstance>,
    warnings: Vec<String>,
}

/// An instance that answered with edits, and its permit.
struct PermittedInstance {
    // Declared before `permit`: fields are dropped in order, and the instance must end before its
    // permit.
    instance: PluginInstance,
    permit: InstancePermit,
}

// === impl PluginSession ===

impl PluginSession {
    pub(crate) fn new(plugin: Arc<PreparedPlugin>) -> Self {
        let budgets = AdmissionBudgets::new(&plugin.context);
        Self { plugin, budgets, instance: None, warnings: Vec::new() }
    }

    /// Calls the plugin, which has to answer within `deadline`. The wait for a permit has its own
    /// limit.
    pub(crate) async fn call(
        &mut self,
        request: &SecretRequest,
        pod: &LazyPodView,
        deadline: Duration,
        timing: &mut CallTiming,
    ) -> Result<Result<PlannedInjection, InjectionError>, Failure> {
        let mut stopwatch = Stopwatch::start();
        // Taken out, and put back only after edits: an instance whose call failed or was aborted
        // must not be called again.
        let (permit, existing) = match self.instance.take() {
            Some(PermittedInstance { instance, permit }) => (permit, Some(instance)),
            None => {
                let permit = InstancePermit::acquire(&self.plugin).await;
                timing.queue = stopwatch.lap();
                (permit?, None)
            }
        };
        timing.phase = CallPhase::Start;
        let _ticking = self.plugin.runtime.ticker.hold();
        let deadline = Instant::now() + deadline;
        let mut instance = match existing {
            Some(instance) => instance,
            None => {
                let started = start_instance(&self.plugin, &self.budgets, deadline).await;
                timing.start = Some(stopwatch.lap());
                started?
            }
        };
        timing.phase = CallPhase::Guest;
        let call = instance.inject(request, pod, deadline, self.plugin.fetching());
        let (answer, waited) = measure_waits(call).await;
        timing.host = waited;
        timing.guest = stopwatch.lap().saturating_sub(timing.host);
        timing.memory = Some(instance.memory());
        let answer = answer?;
        if answer.is_ok() && instance.is_usable() {
            self.instance = Some(PermittedInstance { instance, permit });
        }
        Ok(answer)
    }
}

#[async_trait]
impl InjectorSession for PluginSession {
    async fn inject(&mut self, request: &SecretRequest, pod: &LazyPodView) -> Injection {
        let plugin = Arc::clone(&self.plugin);
        let limits = &plugin.context.limits;
        let mut observed = ObserveOnDrop::start(&*plugin.context.observer);
        let answer = self.call(request, pod, limits.deadline, &mut observed.timing).await;
        let identity = PluginIdentity { name: &plugin.context.name, version: &plugin.info.version };
        let injection = match answer {
            Ok(Ok(PlannedInjection { edits, warnings })) => {
                self.warnings = warnings;
                Ok(Ok(edits))
            }
            Ok(Err(error)) => Ok(Err(error)),
            Err(failure) => Err(failure.into_injector_failure(&identity, limits)),
        };
        observed.outcome = CallOutcome::from_injection(&injection);
        injection
    }

    fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}

/// Creates and configures an instance.
pub(super) async fn start_instance(
    plugin: &PreparedPlugin,
    budgets: &AdmissionBudgets,
    deadline: Instant,
) -> Result<PluginInstance, Failure> {
    let mut instance = PluginInstance::start(&plugin.context, &plugin.pre, budgets, deadline).await?;
    match instance.configure(&plugin.settings).await? {
        Ok(()) => Ok(instance),
        Err(detail) => Err(Failure::Start { reason: "rejected settings that it accepted when it was loaded", detail }),
    }
}
