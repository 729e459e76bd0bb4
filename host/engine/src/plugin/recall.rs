//! [`find_true`]: the recorded answer whose facts are true of this pod.
//!
//! Facts about the cluster are looked up again, as the plugin would do.

use std::sync::Arc;

use ampoule_core::LazyPodView;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::recorded::RecordedPlan;
use crate::sandbox::{
    budgets::AdmissionBudgets,
    context::PluginContext,
    facts::{Fact, SearchedKeys},
    secrets::first_existing,
};

/// Compares facts with a pod and with the cluster. It asks the cluster once for the same keys.
struct Facts<'a> {
    pod: &'a LazyPodView,
    plugin: &'a PluginContext,
    budgets: &'a AdmissionBudgets,
    /// Permits for searches that ask the cluster.
    searches: &'a Semaphore,
    permit: Option<SemaphorePermit<'a>>,
    /// The keys that the cluster was asked for, and its answers; `None` is an error.
    asked: Vec<(&'a SearchedKeys, Option<Option<usize>>)>,
}

/// Returns the newest of these answers whose facts are true. A look-up of Secrets counts towards
/// the budgets like one of a guest.
pub(crate) async fn find_true(
    variants: &[Arc<RecordedPlan>],
    pod: &LazyPodView,
    plugin: &PluginContext,
    budgets: &AdmissionBudgets,
    searches: &Semaphore,
) -> Option<Arc<RecordedPlan>> {
    let mut facts = Facts { pod, plugin, budgets, searches, permit: None, asked: Vec::new() };
    for plan in variants.iter().rev() {
        if facts.are_true(&plan.facts).await {
            return Some(Arc::clone(plan));
        }
    }
    None
}

// === impl Facts ===

impl<'a> Facts<'a> {
    async fn are_true(&mut self, facts: &'a [Fact]) -> bool {
        for fact in facts {
            let is_true = match fact {
                Fact::Pod(fact) => fact.holds(self.pod.get()),
                Fact::FirstExisting(keys, position) => self.first_existing(keys).await == Some(*position),
            };
            if !is_true {
                return false;
            }
        }
        true
    }

    async fn first_existing(&mut self, keys: &'a SearchedKeys) -> Option<Option<usize>> {
        if let Some((_, answer)) = self.asked.iter().find(|(asked, _)| *asked == keys) {
            return *answer;
        }
        if self.permit.is_none() {
            self.permit = self.searches.acquire().await.ok();
        }
        let answer = first_existing(self.plugin, &self.budgets.outbound, Arc::clone(keys)).await.ok();
        self.asked.push((keys, answer));
        answer
    }
}
