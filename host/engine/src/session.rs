//! One plugin at work on one admission: [`PluginSession`], which makes the instance when it is first asked.
//!
//! The instance answers the requests of its pod and no other pod's, as long as it answers with edits. Anything else drops it and
//! the right to have it, for then the next plugin is asked, and may take its time: no plugin's instances wait for another's. The
//! next request of the same pod gets a new instance. So whoever waits for one plugin holds rights of later ones only, and no two
//! admissions wait for each other. Only where the engine has fewer instances than its plugins may have together can that happen,
//! until the wait ends.

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
    observer::{Call, CallOutcome, PluginObserver},
    outbound::OutboundBudget,
    plugin::Loaded,
    running::Running,
};

/// One plugin at work on one admission.
pub(crate) struct PluginSession {
    plugin: Arc<Loaded>,
    outbound: Arc<OutboundBudget>,
    instance: Option<Instance>,
}

/// An instance that has answered with edits.
struct Instance {
    // Before `right`: fields are dropped in order, and the right ends after the instance.
    running: Running,
    right: InstanceRight,
}

/// The right to have one instance: one of the plugin's own, and one of the engine's.
struct InstanceRight {
    _plugin: OwnedSemaphorePermit,
    _engine: OwnedSemaphorePermit,
}

/// Where a call's time went, as far as it came.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spent {
    queue: Duration,
    start: Option<Duration>,
    guest: Duration,
    host: Duration,
    memory: Option<usize>,
    /// What has begun last.
    part: Part,
}

/// A part of a call.
#[derive(Clone, Copy, Default)]
enum Part {
    #[default]
    Queue,
    Start,
    Guest,
}

/// A call that an observer is told of when this ends, also where the call is broken off.
struct Told<'a> {
    observer: &'a dyn PluginObserver,
    started: Instant,
    spent: Spent,
    outcome: CallOutcome,
}

/// Since when.
struct Lap(Instant);

// === impl PluginSession ===

impl PluginSession {
    pub(crate) fn new(plugin: Arc<Loaded>) -> Self {
        let outbound = Arc::new(OutboundBudget::new(&plugin.context.limits));
        Self { plugin, outbound, instance: None }
    }

    /// The plugin's answer, to be given within `deadline`; waiting for an instance counts apart.
    pub(crate) async fn ask(
        &mut self,
        request: &SecretRequest,
        pod: &PodView,
        deadline: Duration,
        spent: &mut Spent,
    ) -> Result<Result<Vec<PodEdit>, InjectionError>, Failure> {
        let Self { plugin, outbound, instance } = self;
        let mut lap = Lap(Instant::now());
        // Taken out, and put back only after edits: an instance whose call failed or was broken off must not be asked again.
        let (right, running) = match instance.take() {
            Some(Instance { running, right }) => (right, Some(running)),
            None => {
                let right = InstanceRight::of(plugin).await;
                spent.queue = lap.time();
                (right?, None)
            }
        };
        spent.part = Part::Start;
        let _ticking = plugin.context.shared.ticker.hold();
        let deadline = Instant::now() + deadline;
        let mut running = match running {
            Some(running) => running,
            None => {
                let running = start(plugin, outbound, deadline).await;
                spent.start = Some(lap.time());
                running?
            }
        };
        spent.part = Part::Guest;
        let in_host = running.host_time();
        let answer = running.inject(request, pod, deadline).await;
        spent.host = running.host_time() - in_host;
        spent.guest = lap.time().saturating_sub(spent.host);
        spent.memory = Some(running.memory());
        let answer = answer?;
        *instance = answer.is_ok().then_some(Instance { running, right });
        Ok(answer)
    }
}

#[async_trait]
impl InjectorSession for PluginSession {
    async fn inject(&mut self, request: &SecretRequest, pod: &PodView) -> Injection {
        let plugin = Arc::clone(&self.plugin);
        let PluginContext { name, limits, observer, .. } = &*plugin.context;
        let (started, spent) = (Instant::now(), Spent::default());
        let mut told = Told { observer: &**observer, started, spent, outcome: CallOutcome::Abandoned };
        let answer = self.ask(request, pod, limits.deadline, &mut told.spent).await;
        let who = Identity { name, version: &plugin.info.version };
        let answer = answer.map_err(|failure| failure.report(&who, limits));
        told.outcome = CallOutcome::of(&answer);
        answer
    }
}

// === impl Told ===

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let Self { observer, started, spent, outcome } = self;
        let elapsed = started.elapsed();
        if *outcome == CallOutcome::Abandoned {
            spent.charge(elapsed);
        }
        let Spent { queue, start, guest, host, memory, part: _ } = *spent;
        observer.called(&Call { outcome: *outcome, elapsed, queue, start, guest, host, memory });
    }
}

// === impl Spent ===

impl Spent {
    /// Gives the part that was broken off what the others leave of this time.
    fn charge(&mut self, elapsed: Duration) {
        let Self { queue, start, guest, host, part, .. } = self;
        let rest = elapsed.saturating_sub(*queue + start.unwrap_or_default() + *guest + *host);
        match part {
            Part::Queue => *queue += rest,
            Part::Start => *start = Some(rest),
            Part::Guest => *guest += rest,
        }
    }
}

// === impl Lap ===

impl Lap {
    /// The time since the last one.
    fn time(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.0, now)
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

async fn start(plugin: &Loaded, outbound: &Arc<OutboundBudget>, deadline: Instant) -> Result<Running, Failure> {
    let Loaded { context, pre, settings, .. } = plugin;
    let mut running = Running::start(context, pre, outbound, deadline).await?;
    match running.configure(settings).await? {
        Ok(()) => Ok(running),
        Err(detail) => Err(Failure::Start { reason: "refused settings that it took when it was loaded", detail }),
    }
}
