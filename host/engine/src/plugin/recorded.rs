//! [`RecordedPlans`]: the answers of one plugin, which the host gives again without a call.
//!
//! A guest is deterministic, so an answer is determined by the component and its settings, which
//! are fixed here, and by the requests that its instance got and the facts that it learned. An
//! answer is given again only if all of them are equal. Nothing else of an admission reaches
//! another one: no instance, no memory of a guest, no fetched value.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ampoule_core::{PodEdit, SecretRequest};
use moka::{Equivalent, sync::Cache};

use crate::sandbox::{
    answer::{PlannedEdit, PlannedEdits},
    facts::Fact,
};

/// Bytes of the recorded answers of a plugin, about.
const MAX_BYTES: u64 = 1 << 20;

/// Bytes of one recorded answer, about. A larger one is not recorded.
const MAX_PLAN: usize = 16 << 10;

/// Bytes of memory that an entry takes beside its request and its answers.
const ENTRY: usize = 512;

/// Answers to one request that differ by the facts. The oldest one is replaced.
const MAX_VARIANTS: usize = 8;

/// The recorded answers of one plugin.
pub(crate) struct RecordedPlans {
    plans: Cache<PlanKey, Variants>,
    next: AtomicU64,
}

/// The answers to one request, which differ by the facts.
type Variants = Arc<[Arc<RecordedPlan>]>;

/// An answer with edits.
pub(crate) struct RecordedPlan {
    id: PlanId,
    request: SecretRequest,
    edits: PlannedEdits,
    /// What the guest learned for this answer.
    facts: Vec<Fact>,
    /// The calls of the host that it took, with those of the start of the instance.
    host_calls: u32,
}

/// A recorded answer, or the state of a new instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct PlanId(u64);

/// A request, and the last answer of the same instance before it.
#[derive(PartialEq, Eq, Hash)]
struct PlanKey {
    after: PlanId,
    request: SecretRequest,
}

/// A borrowed [`PlanKey`]. Both have the same hash.
#[derive(Hash)]
struct PlanKeyRef<'a> {
    after: PlanId,
    request: &'a SecretRequest,
}

// === impl RecordedPlans ===

impl RecordedPlans {
    pub(crate) fn new() -> Self {
        let plans = Cache::builder().weigher(weight).max_capacity(MAX_BYTES).build();
        Self { plans, next: AtomicU64::new(1) }
    }

    /// The answers to a request of an instance that gave `last` before, or none yet.
    pub(crate) fn variants(&self, last: Option<&Arc<RecordedPlan>>, request: &SecretRequest) -> Option<Variants> {
        self.plans.get(&PlanKeyRef { after: id_of(last), request })
    }

    /// Records the answer to a request of an instance that gave `last` before. Returns `None` if
    /// the answer is too large.
    pub(crate) fn record(
        &self,
        last: Option<&Arc<RecordedPlan>>,
        request: &SecretRequest,
        edits: &PlannedEdits,
        facts: Vec<Fact>,
        host_calls: u32,
    ) -> Option<Arc<RecordedPlan>> {
        if edits.bytes > MAX_PLAN || edits.edits.iter().any(has_patch) {
            return None;
        }
        let id = PlanId(self.next.fetch_add(1, Ordering::Relaxed));
        let plan = RecordedPlan { id, request: request.clone(), edits: edits.clone(), facts, host_calls };
        if plan.size() > MAX_PLAN {
            return None;
        }
        let step = PlanKey { after: id_of(last), request: request.clone() };
        let plan = Arc::new(plan);
        let earlier = self.plans.get(&step).unwrap_or_else(|| Arc::new([]));
        let surplus = (earlier.len() + 1).saturating_sub(MAX_VARIANTS);
        // Another admission may record the same answer at the same time: both are true.
        let variants = earlier[surplus..].iter().chain([&plan]).map(Arc::clone).collect();
        self.plans.insert(step, variants);
        Some(plan)
    }
}

// === impl RecordedPlan ===

impl RecordedPlan {
    pub(crate) fn request(&self) -> &SecretRequest {
        &self.request
    }

    pub(crate) fn edits(&self) -> &PlannedEdits {
        &self.edits
    }

    pub(crate) fn facts(&self) -> &[Fact] {
        &self.facts
    }

    pub(crate) fn host_calls(&self) -> u32 {
        self.host_calls
    }

    /// Its size in memory, about.
    fn size(&self) -> usize {
        let edits = self.edits.bytes + self.edits.edits.len() * size_of::<PlannedEdit>();
        let warnings = self.edits.warnings.iter().map(String::len).sum::<usize>();
        let facts = self.facts.iter().map(Fact::size).sum::<usize>();
        size_of::<Self>() + 2 * size_of_request(&self.request) + edits + warnings + facts
    }
}

// === impl PlanKeyRef ===

impl Equivalent<PlanKey> for PlanKeyRef<'_> {
    fn equivalent(&self, step: &PlanKey) -> bool {
        self.after == step.after && *self.request == step.request
    }
}

fn id_of(plan: Option<&Arc<RecordedPlan>>) -> PlanId {
    plan.map(|plan| plan.id).unwrap_or_default()
}

fn weight(_step: &PlanKey, variants: &Variants) -> u32 {
    let size = variants.iter().map(|plan| plan.size()).sum::<usize>() + ENTRY;
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn size_of_request(request: &SecretRequest) -> usize {
    let options = request.options.iter().map(|(name, value)| 2 * size_of::<String>() + name.len() + value.len());
    let env_var = request.env_var.as_ref().map_or(0, String::len);
    request.group.len() + request.group_version.len() + request.key.len() + env_var + options.sum::<usize>()
}

/// Whether an edit has JSON that is larger in memory than its text.
fn has_patch(edit: &PlannedEdit) -> bool {
    matches!(edit, PlannedEdit::Ready(PodEdit::AddInitContainer(container)) if !container.patches.is_empty())
}
