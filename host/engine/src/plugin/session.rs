//! [`PluginSession`]: one plugin during one admission.
//!
//! A request gets a recorded answer if the plugin would give the same one again. Otherwise the
//! session creates an instance, which serves the requests of one pod as long as it answers with
//! edits. After any other answer the session drops the instance and its permit, because the next
//! plugin is called and may take long: instances of one plugin do not wait for those of another.
//! The next request of the same pod gets a new instance.
//!
//! Therefore an admission that waits for a plugin holds permits only of plugins that come later in
//! the order of injectors. Two admissions can wait for each other only if the engine has fewer
//! permits than its plugins together, and only until the wait times out.

use std::{sync::Arc, time::Duration};

use ampoule_core::{CallOutcome, Injection, InjectionError, InjectorSession, LazyPodView, PodEdit, SecretRequest};
use async_trait::async_trait;
use tokio::time::{Instant, timeout};

use super::{
    failure::{Failure, PluginIdentity},
    instance::PluginInstance,
    permits::InstancePermit,
    prepared::PreparedPlugin,
    promises::{PromiseValues, promises_here},
    recall::find_true,
    recorded::RecordedPlan,
    timing::{CallPhase, CallTiming, ObserveOnDrop, Stopwatch, measure_waits},
    values::FetchProblem,
};
use crate::sandbox::{
    answer::{Plan, PlannedEdits},
    budgets::{AdmissionBudgets, BudgetAmounts},
};

/// One plugin during one admission.
pub(crate) struct PluginSession {
    caller: PluginCaller,
    progress: SessionProgress,
    warnings: Vec<String>,
}

/// A plugin, and what is left of its budgets for one admission.
struct PluginCaller {
    plugin: Arc<PreparedPlugin>,
    budgets: AdmissionBudgets,
}

/// What a plugin answered for a pod, since it last answered without edits.
#[derive(Default)]
struct SessionProgress {
    instance: Option<PermittedInstance>,
    /// The answers, from the first one to the last one that is recorded.
    recorded: Vec<GivenPlan>,
    /// Whether an answer is not recorded. No later one can be recorded then.
    has_unrecorded: bool,
    /// The end of the time for the current answer, once an instance works on it.
    deadline: Option<Instant>,
    /// The part of this time that the search for a recorded answer took.
    searched: Duration,
}

/// A recorded answer that the pod got, with or without an instance.
struct GivenPlan {
    plan: Arc<RecordedPlan>,
    /// The pod as it was then: edits change it.
    pod: LazyPodView,
    /// What it took of the budgets.
    spent: BudgetAmounts,
}

/// An instance that answered with edits, and its permit.
struct PermittedInstance {
    // Declared before `_permit`: fields are dropped in order, and the instance must end before its
    // permit.
    instance: PluginInstance,
    _permit: InstancePermit,
    /// The number of recorded answers that this instance knows: it gave them.
    given: usize,
}

/// The edits of an answer with their values, or the plugin's reason for a refusal.
type CallAnswer = Result<Vec<PodEdit>, InjectionError>;

// === impl PluginSession ===

impl PluginSession {
    pub(crate) fn new(plugin: Arc<PreparedPlugin>) -> Self {
        let caller = PluginCaller { budgets: AdmissionBudgets::new(&plugin.context), plugin };
        Self { caller, progress: SessionProgress::default(), warnings: Vec::new() }
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
        let mut progress = std::mem::take(&mut self.progress);
        (progress.deadline, progress.searched) = (None, Duration::ZERO);
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
            Ok(values) => values.replace(planned.edits, caller.plugin.fetch_place)?,
            Err(FetchProblem::Declined(reason) | FetchProblem::LoginRefused(reason)) => return Ok(Err(reason)),
            Err(FetchProblem::Failed(failure)) => return Err(failure),
        };
        self.warnings = planned.warnings;
        if progress.instance.as_ref().is_none_or(|held| held.instance.is_usable()) {
            self.progress = progress;
        }
        Ok(Ok(edits))
    }
}

// === impl PluginCaller ===

impl PluginCaller {
    /// Returns the recorded answer that the plugin would give again. A search that takes longer
    /// than the plugin's deadline is its failure, because the plugin would ask the same.
    async fn recall(
        &self,
        progress: &mut SessionProgress,
        request: &SecretRequest,
        pod: &LazyPodView,
        timing: &mut CallTiming,
    ) -> Result<Option<PlannedEdits>, Failure> {
        let records = self.plugin.recorded.as_ref().filter(|_| !progress.has_unrecorded);
        let found = records.and_then(|records| Some((records, records.variants(progress.last(), request)?)));
        let Some((records, variants)) = found else { return Ok(None) };
        let (plugin, before) = (&self.plugin.context, self.budgets.left());
        timing.phase = CallPhase::Guest;
        let search = find_true(&variants, pod, plugin, &self.budgets, records.searches());
        let (found, waited) = measure_waits(timeout(plugin.limits.deadline, search)).await;
        timing.host += waited;
        let found = found.map_err(|_| Failure::Deadline)?.and_then(|plan| {
            let calls = BudgetAmounts { host_calls: plan.host_calls(), ..BudgetAmounts::default() };
            self.budgets.left().minus(calls).map(|left| (plan, left))
        });
        let Some((plan, left)) = found else {
            // The plugin is called, and asks again.
            self.budgets.set_left(before);
            return Ok(None);
        };
        progress.searched = waited;
        self.budgets.set_left(left);
        timing.reused = true;
        let planned = plan.edits().clone();
        let spent = before.minus(left).unwrap_or_default();
        progress.recorded.push(GivenPlan { plan, pod: pod.clone(), spent });
        Ok(Some(planned))
    }

    /// Calls the plugin, and records its answer if it can be given again.
    async fn plan(
        &self,
        progress: &mut SessionProgress,
        request: &SecretRequest,
        pod: &LazyPodView,
        timing: &mut CallTiming,
    ) -> Result<Plan, Failure> {
        let _ticking = self.plugin.runtime.ticker.hold();
        let existing = progress.instance.take().filter(|held| held.fits(progress.recorded.len()));
        let known = existing.as_ref().map_or(0, |held| held.given);
        self.refund(&progress.recorded[known..]);
        let mut before = self.budgets.left();
        let mut held = match existing {
            Some(held) => held,
            None => self.start_instance(progress, timing).await?,
        };
        let mut stopwatch = Stopwatch::start();
        timing.phase = CallPhase::Guest;
        for given in &progress.recorded[known..] {
            // Each of these answers has its own time, as it had the first time.
            let deadline = Instant::now() + self.plugin.context.limits.deadline;
            held.give_again(given, deadline).await?;
            progress.deadline = None;
        }
        if !progress.recorded.is_empty() {
            before = self.budgets.left();
        }
        let deadline = self.deadline(progress);
        let (plan, waited) = measure_waits(held.instance.plan(request, pod, deadline)).await;
        timing.host += waited;
        timing.guest += stopwatch.lap().saturating_sub(waited);
        timing.memory = Some(held.instance.memory());
        let plan = plan?;
        if let Plan::Inject(planned) = &plan {
            let spent = before.minus(self.budgets.left()).unwrap_or_default();
            self.record(progress, &mut held, (request, pod), planned, spent);
            progress.instance = Some(held);
        }
        Ok(plan)
    }

    /// Creates and configures an instance, as soon as there is a permit.
    async fn start_instance(
        &self,
        progress: &mut SessionProgress,
        timing: &mut CallTiming,
    ) -> Result<PermittedInstance, Failure> {
        timing.phase = CallPhase::Queue;
        let mut stopwatch = Stopwatch::start();
        let permit = InstancePermit::acquire(&self.plugin).await;
        timing.queue += stopwatch.lap();
        let permit = permit?;
        timing.phase = CallPhase::Start;
        let started = start_instance(&self.plugin, &self.budgets, self.deadline(progress)).await;
        timing.start = Some(stopwatch.lap());
        Ok(PermittedInstance { instance: started?, _permit: permit, given: 0 })
    }

    /// The end of the time for the current answer, which begins when an instance works on it.
    fn deadline(&self, progress: &mut SessionProgress) -> Instant {
        let time = self.plugin.context.limits.deadline.saturating_sub(progress.searched);
        *progress.deadline.get_or_insert_with(|| Instant::now() + time)
    }

    /// Returns the amounts of answers that an instance is about to give again.
    fn refund(&self, given: &[GivenPlan]) {
        let left = given.iter().fold(self.budgets.left(), |left, given| left.plus(given.spent));
        self.budgets.set_left(left);
    }

    fn record(
        &self,
        progress: &mut SessionProgress,
        held: &mut PermittedInstance,
        (request, pod): (&SecretRequest, &LazyPodView),
        planned: &PlannedEdits,
        spent: BudgetAmounts,
    ) {
        let records = self.plugin.recorded.as_ref().filter(|_| !progress.has_unrecorded);
        let recorded = records
            .zip(held.instance.take_facts())
            .and_then(|(records, facts)| records.record(progress.last(), request, planned, facts, spent.host_calls));
        match recorded {
            Some(plan) => {
                progress.recorded.push(GivenPlan { plan, pod: pod.clone(), spent });
                held.given = progress.recorded.len();
            }
            None => progress.has_unrecorded = true,
        }
    }

    /// Returns the values of the promises of an answer that are fetched here. The host may keep
    /// some of them.
    async fn keep_promises(
        &self,
        progress: &mut SessionProgress,
        planned: &PlannedEdits,
        timing: &mut CallTiming,
    ) -> Result<PromiseValues, FetchProblem> {
        let mut values = PromiseValues::default();
        let mut promises = promises_here(&planned.edits, self.plugin.fetch_place);
        let (kept, observer) = (self.plugin.values.as_ref(), &*self.plugin.context.observer);
        if let (None, Some(kept)) = (&progress.instance, kept) {
            promises = values.add_kept(promises, kept, observer).await?;
        }
        if promises.is_empty() {
            return Ok(values);
        }
        let _ticking = self.plugin.runtime.ticker.hold();
        // Before the wait for a value that another admission fetches, which may need the last
        // permit for it.
        if progress.instance.is_none() {
            progress.instance = Some(self.start_instance(progress, timing).await?);
        }
        let deadline = self.deadline(progress);
        let Some(held) = &mut progress.instance else { return Err(Failure::NoAnswer.into()) };
        held.instance.start_values();
        let mut stopwatch = Stopwatch::start();
        timing.phase = CallPhase::Guest;
        for promise in promises {
            let (value, waited) = measure_waits(held.instance.value(kept, &promise, deadline)).await;
            timing.host += waited;
            timing.guest += stopwatch.lap().saturating_sub(waited);
            let (value, origin) = value?;
            values.add(promise, value, origin, observer)?;
        }
        timing.memory = Some(held.instance.memory());
        Ok(values)
    }
}

// === impl SessionProgress ===

impl SessionProgress {
    /// The last recorded answer.
    fn last(&self) -> Option<&Arc<RecordedPlan>> {
        self.recorded.last().map(|given| &given.plan)
    }
}

// === impl PermittedInstance ===

impl PermittedInstance {
    /// Whether it can answer the next request after this number of recorded answers: it knows all
    /// of them, or nothing else.
    fn fits(&self, answers: usize) -> bool {
        self.given == answers || self.instance.is_recordable()
    }

    /// Gives a recorded answer again, because the guest may keep something for the next one. If it
    /// learns something else than then, such as that a Secret is gone, no later answer is recorded.
    async fn give_again(&mut self, given: &GivenPlan, deadline: Instant) -> Result<(), Failure> {
        let answer = self.instance.plan(given.plan.request(), &given.pod, deadline).await?;
        let facts = self.instance.take_facts();
        let is_equal = facts.is_some_and(|facts| facts == given.plan.facts());
        if !is_equal || !matches!(answer, Plan::Inject(_)) {
            self.instance.spoil_facts();
        }
        self.given += 1;
        Ok(())
    }
}

#[async_trait]
impl InjectorSession for PluginSession {
    async fn inject(&mut self, request: &SecretRequest, pod: &LazyPodView) -> Injection {
        let plugin = Arc::clone(&self.caller.plugin);
        let limits = &plugin.context.limits;
        let mut observed = ObserveOnDrop::start(&*plugin.context.observer);
        let answer = self.call(request, pod, &mut observed.timing).await;
        let identity = PluginIdentity { name: &plugin.context.name, version: &plugin.info.version };
        let injection = match answer {
            Ok(answer) => Ok(answer),
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
