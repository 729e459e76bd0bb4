//! [`PluginCaller`]: gives the answers of one plugin for one admission, recorded ones and those of
//! instances.
//!
//! An instance that did not give an answer itself gives it again before the next one, so that the
//! guest keeps the same in its memory.

use std::{sync::Arc, time::Duration};

use ampoule_core::{LazyPodView, SecretRequest};
use tokio::time::{Instant, timeout};

use super::{
    failure::Failure,
    instance::PluginInstance,
    permits::InstancePermit,
    prepared::PreparedPlugin,
    promises::{PromiseValues, promises_here},
    recall::find_true,
    recorded::RecordedPlan,
    timing::{CallPhase, CallTiming, Stopwatch, measure_waits},
    values::{FetchPlace, FetchProblem},
};
use crate::sandbox::{
    answer::{Plan, PlannedEdits},
    budgets::{AdmissionBudgets, BudgetAmounts},
};

/// A plugin, and what is left of its budgets for one admission.
pub(crate) struct PluginCaller {
    plugin: Arc<PreparedPlugin>,
    budgets: AdmissionBudgets,
}

/// What a plugin answered for a pod, since it last answered without edits.
#[derive(Default)]
pub(crate) struct SessionProgress {
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

// === impl PluginCaller ===

impl PluginCaller {
    pub(crate) fn new(plugin: Arc<PreparedPlugin>) -> Self {
        Self { budgets: AdmissionBudgets::new(&plugin.context), plugin }
    }

    pub(crate) fn plugin(&self) -> &Arc<PreparedPlugin> {
        &self.plugin
    }

    /// Where the values of promises are fetched.
    pub(crate) fn fetch_place(&self) -> FetchPlace {
        self.plugin.fetch_place
    }

    /// Returns the recorded answer that the plugin would give again. A search that takes longer
    /// than the plugin's deadline is its failure, because the plugin would ask the same.
    pub(crate) async fn recall(
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
            let calls = BudgetAmounts { host_calls: plan.host_calls, ..BudgetAmounts::default() };
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
        let planned = plan.edits.clone();
        let spent = before.minus(left).unwrap_or_default();
        progress.recorded.push(GivenPlan { plan, pod: pod.clone(), spent });
        Ok(Some(planned))
    }

    /// Calls the plugin, and records its answer if it can be given again.
    pub(crate) async fn plan(
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
    pub(crate) async fn keep_promises(
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
        let mut held = match progress.instance.take() {
            Some(held) => held,
            None => self.start_for_values(progress, timing).await?,
        };
        let deadline = self.deadline(progress);
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
        progress.instance = Some(held);
        Ok(values)
    }

    /// Creates an instance that only fetches. The budgets count the start with the first answer.
    async fn start_for_values(
        &self,
        progress: &mut SessionProgress,
        timing: &mut CallTiming,
    ) -> Result<PermittedInstance, Failure> {
        let before = self.budgets.left();
        let started = self.start_instance(progress, timing).await;
        self.budgets.set_left(before);
        started
    }
}

// === impl SessionProgress ===

impl SessionProgress {
    /// The same, with the whole time for the next answer.
    pub(crate) fn for_next_request(self) -> Self {
        Self { deadline: None, searched: Duration::ZERO, ..self }
    }

    /// Whether the instance, if there is one, can be called again.
    pub(crate) fn is_usable(&self) -> bool {
        self.instance.as_ref().is_none_or(|held| held.instance.is_usable())
    }

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
        let answer = self.instance.plan(&given.plan.request, &given.pod, deadline).await?;
        let facts = self.instance.take_facts();
        let is_equal = facts.is_some_and(|facts| facts == given.plan.facts);
        if !is_equal || !matches!(answer, Plan::Inject(_)) {
            self.instance.spoil_facts();
        }
        self.given += 1;
        Ok(())
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
