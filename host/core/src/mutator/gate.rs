//! The policy in front of the chain: [`PolicyGate`], and its evaluation for one pod.
//!
//! Rules that do not read the injector are evaluated for all requests before any injector is
//! called, so that a pod that they deny causes no call.

use std::sync::Arc;

use crate::{
    pod::PodView,
    policy::{InjectorFacts, PolicyFinding, PolicySession, RequestPolicy, Requester},
    request::RequestedSecret,
};

/// A policy, and the properties of the injectors in front of which it is.
pub(super) struct PolicyGate {
    pub(super) policy: Arc<dyn RequestPolicy>,
    /// The properties of each injector of the chain, in its order.
    pub(super) injectors: Vec<InjectorFacts>,
}

/// The evaluation of the policy for one pod; permits everything without a policy.
pub(super) struct PodJudge<'a> {
    session: Option<Box<dyn PolicySession + 'a>>,
    injectors: &'a [InjectorFacts],
}

// === impl PodJudge ===

impl<'a> PodJudge<'a> {
    /// Starts the evaluation. `view` is that of the received pod.
    pub(super) fn open(gate: Option<&'a PolicyGate>, view: Option<&'a PodView>, requester: &'a Requester) -> Self {
        match (gate, view) {
            (Some(gate), Some(view)) => {
                Self { session: Some(gate.policy.open(view, requester)), injectors: &gate.injectors }
            }
            _ => Self { session: None, injectors: &[] },
        }
    }

    /// Evaluates the rules that do not read the injector for all requests, up to the first request
    /// that a rule denies. Returns the findings of each request; nothing without a policy.
    pub(super) fn judge_all(&mut self, requests: &[RequestedSecret]) -> Vec<Vec<PolicyFinding>> {
        let Some(session) = &mut self.session else { return Vec::new() };
        let mut judged = Vec::with_capacity(requests.len());
        for requested in requests {
            let mut findings = Vec::new();
            session.judge(requested, None, &mut findings);
            let is_denied = findings.iter().any(PolicyFinding::denies);
            judged.push(findings);
            if is_denied {
                break;
            }
        }
        judged
    }

    /// Whether a request may reach a shadow injector. The findings have no effect and are dropped.
    pub(super) fn permits_shadow(&mut self, requested: &RequestedSecret, facts: &InjectorFacts) -> bool {
        let Some(session) = &mut self.session else { return true };
        let mut findings = Vec::new();
        session.judge(requested, Some(facts), &mut findings);
        !findings.iter().any(PolicyFinding::denies)
    }

    /// Whether a request may reach the injector of this position. Adds the findings.
    pub(super) fn permits_injector(
        &mut self,
        requested: &RequestedSecret,
        position: usize,
        findings: &mut Vec<PolicyFinding>,
    ) -> bool {
        let Some(session) = &mut self.session else { return true };
        let unknown = InjectorFacts::unknown();
        session.judge(requested, Some(self.injectors.get(position).unwrap_or(&unknown)), findings);
        !findings.iter().any(PolicyFinding::denies)
    }
}
