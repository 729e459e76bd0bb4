//! Shadow injectors: they are called after the chain, and their answers are only compared.
//!
//! [`ShadowRun`] owns everything that it needs, so that it can run after the pod was answered.

use std::{collections::VecDeque, sync::Arc};

use super::{InjectorAnswer, gate::PodJudge};
use crate::{
    edit::{EditDifference, PodEdit},
    injector::{InjectorSession, SecretInjector},
    pod::LazyPodView,
    policy::InjectorFacts,
    request::RequestedSecret,
};

/// An injector that is called for the requests that the chain answered. No edit of it is applied.
#[derive(Clone)]
pub struct ShadowInjector {
    /// The injector.
    pub injector: Arc<dyn SecretInjector>,
    /// Its properties, for the policy: a rule that denies the call of an injector of the chain
    /// denies that of a shadow injector as well.
    pub facts: InjectorFacts,
}

/// The calls of the shadow injectors for one pod. The values of the served answers stay in memory
/// until it is dropped.
pub struct ShadowRun {
    sessions: Vec<ShadowSession>,
    calls: VecDeque<ShadowCall>,
    /// The position of the next session for the first call.
    next: usize,
}

/// The comparison of one answer with the served one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowComparison {
    /// The request that both answered.
    pub requested: Arc<RequestedSecret>,
    /// The name of the shadow injector.
    pub injector: String,
    /// The result.
    pub result: ShadowResult,
    /// The label of the answer that was served.
    pub served: &'static str,
    /// The label of the shadow injector's answer.
    pub answer: &'static str,
    /// The edits that differ, if both answers have edits.
    pub edits: Vec<EditDifference>,
}

/// Results of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShadowResult {
    /// Both answers have the same kind and the same edits.
    Same,
    /// The answers differ.
    Different,
    /// The shadow injector did not answer.
    Failed,
    /// The shadow injector was not called: too many shadow calls run already.
    Skipped,
    /// The shadow injector was not called: a policy rule denies the call.
    Denied,
}

/// A request with the answer that was served for it.
pub(super) struct ShadowCall {
    requested: Arc<RequestedSecret>,
    view: LazyPodView,
    served: ServedAnswer,
    /// Whether the policy permits the call of each shadow injector.
    permitted: Vec<bool>,
}

/// The answer of the chain.
pub(super) struct ServedAnswer {
    pub(super) label: &'static str,
    /// The edits, if an injector injected.
    pub(super) edits: Option<Vec<PodEdit>>,
}

struct ShadowSession {
    injector: String,
    session: Box<dyn InjectorSession>,
}

// === impl ShadowRun ===

impl ShadowRun {
    /// Opens the sessions; `None` if there is nothing to call.
    pub(super) fn open(shadows: &[ShadowInjector], calls: Vec<ShadowCall>) -> Option<Self> {
        if shadows.is_empty() || calls.is_empty() {
            return None;
        }
        let sessions = shadows.iter().map(ShadowSession::open).collect();
        Some(Self { sessions, calls: calls.into(), next: 0 })
    }

    /// Calls the next shadow injector, and compares its answer. `None` after the last one.
    ///
    /// After a call that was dropped before its end, the caller must not continue.
    pub async fn next(&mut self) -> Option<ShadowComparison> {
        let call = self.calls.front()?;
        let session = &mut self.sessions[self.next];
        let is_permitted = call.permitted.get(self.next).copied().unwrap_or_default();
        let comparison =
            if is_permitted { session.compare(call).await } else { session.unmade(call, ShadowResult::Denied) };
        self.next += 1;
        if self.next == self.sessions.len() {
            self.next = 0;
            self.calls.pop_front();
        }
        Some(comparison)
    }

    /// The comparisons that were not made, all with this result.
    #[must_use]
    pub fn remaining(&self, result: ShadowResult) -> Vec<ShadowComparison> {
        let all = self.calls.iter().flat_map(|call| self.sessions.iter().map(move |session| (call, session)));
        all.skip(self.next).map(|(call, session)| session.unmade(call, result)).collect()
    }
}

// === impl ShadowCall ===

impl ShadowCall {
    pub(super) fn new(requested: RequestedSecret, view: LazyPodView, served: ServedAnswer) -> Self {
        Self { requested: Arc::new(requested), view, served, permitted: Vec::new() }
    }

    /// Evaluates the policy for each shadow injector.
    pub(super) fn judge(&mut self, judge: &mut PodJudge<'_>, shadows: &[ShadowInjector]) {
        self.permitted = shadows.iter().map(|shadow| judge.permits_shadow(&self.requested, &shadow.facts)).collect();
    }
}

// === impl ShadowSession ===

impl ShadowSession {
    fn open(shadow: &ShadowInjector) -> Self {
        Self { injector: shadow.injector.name().to_owned(), session: shadow.injector.open() }
    }

    /// A comparison without a call.
    fn unmade(&self, call: &ShadowCall, result: ShadowResult) -> ShadowComparison {
        self.compared(call, result, result.as_str(), Vec::new())
    }

    async fn compare(&mut self, call: &ShadowCall) -> ShadowComparison {
        let injection = self.session.inject(&call.requested.request, &call.view).await;
        match (&injection, &call.served.edits) {
            (Ok(Ok(edits)), Some(served)) if edits == served => {
                self.compared(call, ShadowResult::Same, "injected", Vec::new())
            }
            (Ok(Ok(edits)), served) => {
                let differences = served.as_ref().map(|served| EditDifference::all(served, edits));
                self.compared(call, ShadowResult::Different, "injected", differences.unwrap_or_default())
            }
            (Ok(Err(error)), _) => {
                let is_same = call.served.label == error.as_str();
                let result = if is_same { ShadowResult::Same } else { ShadowResult::Different };
                self.compared(call, result, error.as_str(), Vec::new())
            }
            (Err(failure), _) => self.compared(call, ShadowResult::Failed, failure.kind.as_str(), Vec::new()),
        }
    }

    fn compared(
        &self,
        call: &ShadowCall,
        result: ShadowResult,
        answer: &'static str,
        edits: Vec<EditDifference>,
    ) -> ShadowComparison {
        let (requested, injector) = (Arc::clone(&call.requested), self.injector.clone());
        ShadowComparison { requested, injector, result, served: call.served.label, answer, edits }
    }
}

// === impl ServedAnswer ===

impl ServedAnswer {
    /// The answer of the last injector that was called; `edits` are those that it injected.
    pub(super) fn new(last: Option<&InjectorAnswer>, edits: Option<Vec<PodEdit>>) -> Self {
        Self { label: last.map_or("nobody-asked", InjectorAnswer::as_str), edits }
    }
}

// === impl ShadowResult ===

impl ShadowResult {
    /// All results.
    pub const ALL: [Self; 5] = [Self::Same, Self::Different, Self::Failed, Self::Skipped, Self::Denied];

    /// Returns the label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different => "different",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Denied => "denied",
        }
    }
}
