//! One plugin at work on one admission: [`PluginSession`], which makes the instance when it is first asked.
//!
//! The instance answers every request of its pod and no other pod's. A failure drops it, and the next request of the same
//! pod gets a new one. The right to have an instance is kept until the admission is over, also across a failure: plugins
//! are asked in one order by all admissions, so their rights are taken in one order, and no two admissions wait for each
//! other. Only where the engine has fewer instances than its plugins may have together can that happen, until the wait ends.

use std::{sync::Arc, time::Duration};

use ampoule_core::{Injection, InjectionError, InjectorSession, PodEdit, PodView, SecretRequest};
use async_trait::async_trait;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use crate::{
    context::PluginContext,
    failure::{Failure, Identity},
    observer::CallOutcome,
    plugin::Loaded,
    running::Running,
};

/// One plugin at work on one admission.
pub(crate) struct PluginSession {
    plugin: Arc<Loaded>,
    // Before `right`: fields are dropped in order, and the right ends after the instance.
    running: Option<Running>,
    right: Option<InstanceRight>,
}

/// The right to have one instance: one of the plugin's own, and one of the engine's.
struct InstanceRight {
    _plugin: OwnedSemaphorePermit,
    _engine: OwnedSemaphorePermit,
}

// === impl PluginSession ===

impl PluginSession {
    pub(crate) fn new(plugin: Arc<Loaded>) -> Self {
        Self { plugin, running: None, right: None }
    }

    /// The plugin's answer, to be given within `deadline`; waiting for an instance counts apart.
    pub(crate) async fn ask(
        &mut self,
        request: &SecretRequest,
        pod: &PodView,
        deadline: Duration,
    ) -> Result<Result<Vec<PodEdit>, InjectionError>, Failure> {
        let Self { plugin, running, right } = self;
        if right.is_none() {
            *right = Some(InstanceRight::of(plugin).await?);
        }
        let _ticking = plugin.context.shared.ticker.hold();
        let deadline = Instant::now() + deadline;
        // Taken out, and put back only after an answer: an instance whose call failed or was broken off must not be asked
        // again.
        let mut instance = match running.take() {
            Some(instance) => instance,
            None => start(plugin, deadline).await?,
        };
        let answer = instance.inject(request, pod, deadline).await?;
        *running = Some(instance);
        Ok(answer)
    }
}

#[async_trait]
impl InjectorSession for PluginSession {
    async fn inject(&mut self, request: &SecretRequest, pod: &PodView) -> Injection {
        let started = Instant::now();
        let answer = self.ask(request, pod, self.plugin.context.limits.deadline).await;
        let plugin = &self.plugin;
        let PluginContext { name, limits, shared, .. } = &*plugin.context;
        let who = Identity { name, version: &plugin.info.version };
        let answer = answer.map_err(|failure| failure.report(&who, limits));
        shared.observer.called(name, CallOutcome::of(&answer), started.elapsed());
        answer
    }
}

// === impl InstanceRight ===

impl InstanceRight {
    /// Waits for its turn, but not for long.
    async fn of(plugin: &Loaded) -> Result<Self, Failure> {
        let waiting_ends = Instant::now() + plugin.context.limits.queue_wait;
        let both = async {
            let ours = Arc::clone(&plugin.instances).acquire_owned().await.ok()?;
            let engine = Arc::clone(&plugin.context.shared.instances).acquire_owned().await.ok()?;
            Some(Self { _plugin: ours, _engine: engine })
        };
        timeout_at(waiting_ends, both).await.ok().flatten().ok_or(Failure::Busy)
    }
}

async fn start(plugin: &Loaded, deadline: Instant) -> Result<Running, Failure> {
    let Loaded { context, pre, settings, .. } = plugin;
    let mut instance = Running::start(context, pre, deadline).await?;
    match instance.configure(settings).await? {
        Ok(()) => Ok(instance),
        Err(detail) => Err(Failure::Start { reason: "refused settings that it took when it was loaded", detail }),
    }
}
