//! [`RecordedPlans`]: the answers of one plugin, which the host gives again without a call.
//!
//! A guest is deterministic, so an answer is determined by the component and its settings, which
//! are fixed here, and by the requests that its instance got and the facts that it learned. An
//! answer is given again only if all of them are equal. Nothing else of an admission reaches
//! another one: no instance, no memory of a guest, no fetched value.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ampoule_core::{PodEdit, SecretRequest, VolumeSource};
use moka::{Equivalent, policy::EvictionPolicy, sync::Cache};
use tokio::sync::Semaphore;

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

/// Elements of the lists in one recorded answer, such as arguments of init containers. Each takes
/// more memory than its text.
const MAX_ELEMENTS: usize = 64;

/// The time after which an answer that no pod gets is forgotten.
const IDLE: Duration = Duration::from_mins(10);

/// Answers to one request that differ by the facts. The oldest one is replaced.
const MAX_VARIANTS: usize = 8;

/// The recorded answers of one plugin.
pub(crate) struct RecordedPlans {
    plans: Cache<PlanKey, Variants>,
    next: AtomicU64,
    /// Permits for searches that ask the cluster, like those for instances: each reads whole
    /// Secrets.
    searches: Semaphore,
}

/// The answers to one request, which differ by the facts.
type Variants = Arc<[Arc<RecordedPlan>]>;

/// An answer with edits.
pub(crate) struct RecordedPlan {
    id: PlanId,
    pub(crate) request: SecretRequest,
    pub(crate) edits: PlannedEdits,
    /// What the guest learned for this answer.
    pub(crate) facts: Vec<Fact>,
    /// The calls of the host that it took, with those of the start of the instance.
    pub(crate) host_calls: u32,
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
    /// `searches` is the number of searches at a time that ask the cluster.
    pub(crate) fn new(searches: usize) -> Self {
        let plans = Cache::builder()
            .weigher(weight)
            .max_capacity(MAX_BYTES)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(IDLE)
            .build();
        let searches = Semaphore::new(searches.clamp(1, Semaphore::MAX_PERMITS));
        Self { plans, next: AtomicU64::new(1), searches }
    }

    /// Permits for searches that ask the cluster.
    pub(crate) fn searches(&self) -> &Semaphore {
        &self.searches
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
        let elements = edits.edits.iter().map(elements).sum::<usize>();
        if edits.bytes > MAX_PLAN || elements > MAX_ELEMENTS || edits.edits.iter().any(has_patch) {
            return None;
        }
        let id = PlanId(self.next.fetch_add(1, Ordering::Relaxed));
        let plan = RecordedPlan { id, request: request.clone(), edits: edits.clone(), facts, host_calls };
        if plan.size() > MAX_PLAN {
            return None;
        }
        let key = PlanKey { after: id_of(last), request: request.clone() };
        let plan = Arc::new(plan);
        let earlier = self.plans.get(&key).unwrap_or_else(|| Arc::new([]));
        // Another admission recorded the same answer at the same time.
        if let Some(same) = earlier.iter().find(|earlier| earlier.facts == plan.facts) {
            return Some(Arc::clone(same));
        }
        let surplus = (earlier.len() + 1).saturating_sub(MAX_VARIANTS);
        let variants = earlier[surplus..].iter().chain([&plan]).map(Arc::clone).collect();
        self.plans.insert(key, variants);
        Some(plan)
    }
}

// === impl RecordedPlan ===

impl RecordedPlan {
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
    fn equivalent(&self, key: &PlanKey) -> bool {
        self.after == key.after && *self.request == key.request
    }
}

fn id_of(plan: Option<&Arc<RecordedPlan>>) -> PlanId {
    plan.map(|plan| plan.id).unwrap_or_default()
}

fn weight(_key: &PlanKey, variants: &Variants) -> u32 {
    let size = variants.iter().map(|plan| plan.size()).sum::<usize>() + ENTRY;
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn size_of_request(request: &SecretRequest) -> usize {
    let options = request.options.iter().map(|(name, value)| 2 * size_of::<String>() + name.len() + value.len());
    let env_var = request.env_var.as_ref().map_or(0, String::len);
    request.group.len() + request.group_version.len() + request.key.len() + env_var + options.sum::<usize>()
}

/// The elements of the lists in an edit.
fn elements(edit: &PlannedEdit) -> usize {
    match edit {
        PlannedEdit::Ready(PodEdit::AddVolume(volume)) => match &volume.source {
            VolumeSource::Secret(secret) => secret.items.len(),
            VolumeSource::Csi(csi) => csi.attributes.len(),
            _ => 0,
        },
        PlannedEdit::Ready(PodEdit::AddInitContainer(container)) => {
            let resources = container.resources.as_ref().map_or(0, |given| given.requests.len() + given.limits.len());
            container.command.len() + container.args.len() + container.env.len() + container.mounts.len() + resources
        }
        _ => 0,
    }
}

/// Whether an edit has JSON that is larger in memory than its text.
fn has_patch(edit: &PlannedEdit) -> bool {
    matches!(edit, PlannedEdit::Ready(PodEdit::AddInitContainer(container)) if !container.patches.is_empty())
}

#[cfg(test)]
mod tests {
    use ampoule_core::{Csi, EnvSource, EnvVar, Volume};

    use super::*;
    use crate::sandbox::facts::PodFact;

    fn edits(edits: Vec<PodEdit>) -> PlannedEdits {
        let edits = edits.into_iter().map(PlannedEdit::Ready).collect();
        PlannedEdits { edits, warnings: Vec::new(), bytes: 10 }
    }

    fn variable() -> PodEdit {
        PodEdit::SetEnv(EnvVar { name: "A".to_owned(), source: EnvSource::Literal("a".to_owned()) })
    }

    fn csi(attributes: usize) -> PodEdit {
        let attributes = vec![(String::new(), String::new()); attributes];
        let csi = Csi { driver: "d".to_owned(), read_only: true, attributes, node_publish_secret: None };
        PodEdit::AddVolume(Volume { name: "v".to_owned(), source: VolumeSource::Csi(csi) })
    }

    fn fact(name: &str) -> Vec<Fact> {
        vec![Fact::Pod(PodFact::Name(name.to_owned()))]
    }

    #[test]
    fn an_answer_that_takes_much_memory_is_not_recorded() {
        let large = PlannedEdits { bytes: MAX_PLAN, ..edits(vec![variable()]) };
        let facts = vec![fact(&"x".repeat(MAX_PLAN)).remove(0)];
        for (what, edits, facts, is_recorded) in [
            ("a variable", edits(vec![variable()]), Vec::new(), true),
            ("many bytes", large, Vec::new(), false),
            ("a large fact", edits(vec![variable()]), facts, false),
            ("some attributes", edits(vec![csi(MAX_ELEMENTS)]), Vec::new(), true),
            ("many attributes without text", edits(vec![csi(MAX_ELEMENTS), csi(1)]), Vec::new(), false),
        ] {
            let recorded = RecordedPlans::new(1).record(None, &SecretRequest::default(), &edits, facts, 1);
            assert_eq!(recorded.is_some(), is_recorded, "{what}");
        }
    }

    #[test]
    fn an_answer_with_the_same_facts_is_recorded_once_and_the_oldest_variant_is_replaced() {
        let (records, request, edits) = (RecordedPlans::new(1), SecretRequest::default(), edits(vec![variable()]));
        let record = |name: &str| records.record(None, &request, &edits, fact(name), 1).unwrap();
        let first = record("0");
        assert!(Arc::ptr_eq(&first, &record("0")));
        let names: Vec<_> = (0..=MAX_VARIANTS).map(|number| number.to_string()).collect();
        names.iter().for_each(|name| drop(record(name)));
        let facts: Vec<_> = records.variants(None, &request).unwrap().iter().map(|plan| plan.facts.clone()).collect();
        assert_eq!(facts, names[1..].iter().map(|name| fact(name)).collect::<Vec<_>>());
        assert!(records.variants(Some(&first), &request).is_none(), "the next request of the same pod");
    }
}
