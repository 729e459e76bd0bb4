//! The chain of injectors: for every secret request, the first injector that injects wins.
//!
//! [`PodMutator::mutate`] is the entry point. Its result lists every injector that was called and
//! its answer, so that a refusal and `ampoule explain` report the same.

mod pod_draft;
mod refusal;
mod warnings;

use std::sync::Arc;

use json_patch::Patch;

use self::pod_draft::PodDraft;
pub use self::refusal::{Refusal, RefusalCode};
use crate::{
    edit::budget::EditBudget,
    injector::{InjectionError, InjectorFailure, InjectorSession, SecretInjector},
    limits::PodLimits,
    memory::{AdmissionMemory, UnlimitedMemory},
    pod::Pod,
    profile::Conventions,
    request::{RequestedSecret, SecretRequest},
};

/// Injects secrets into pods with a fixed chain of injectors.
pub struct PodMutator {
    injectors: Vec<Arc<dyn SecretInjector>>,
    conventions: Conventions,
    limits: PodLimits,
}

/// The response for a pod that cannot get a secret. The caller of [`PodMutator`] applies it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Refuses the pod.
    #[default]
    Deny,
    /// Admits the pod unchanged, with a warning. Flyte 1 does the same without the warning.
    Admit,
}

/// A pod after all calls of injectors, without its patch yet.
pub struct PendingMutation<'a> {
    pod: &'a Pod,
    /// `Ok(None)` if the pod has no secret requests.
    draft: Result<Option<PodDraft<'a>>, Refusal>,
    reports: Vec<RequestReport>,
}

/// The result for one pod.
#[derive(Clone, Debug)]
pub struct Mutation {
    /// The requests in the order of service, up to the first that failed.
    pub requests: Vec<RequestReport>,
    /// The patch, or the refusal.
    pub outcome: Result<Admitted, Refusal>,
}

/// An admitted pod. The default changes nothing and warns of nothing.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    /// The minimal patch that adds the secrets to the received pod; empty if nothing changes. The
    /// same pod always gets the same bytes.
    pub patch: Patch,
    /// Warnings for the pod's author, which `kubectl` prints. A second review of the pod can have
    /// fewer, because the first one replaced the variables that it warned about.
    pub warnings: Vec<String>,
}

/// A request and the injectors that were called for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestReport {
    /// The annotation that contains the request.
    pub annotation: String,
    /// The request.
    pub request: SecretRequest,
    /// The calls of injectors, in order.
    pub attempts: Vec<Attempt>,
}

/// A call of one injector for one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The name of the injector.
    pub injector: String,
    /// The SHA-256 of its component in hexadecimal; `None` for injectors that are part of the
    /// program.
    pub digest: Option<String>,
    /// The answer.
    pub answer: InjectorAnswer,
    /// The name under which the injector found the secret ([`InjectorSession::found_name`]).
    pub found_name: Option<String>,
}

/// An injector's answer, after its edits were applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InjectorAnswer {
    /// The injector injected the secret.
    Injected {
        /// The number of edits.
        edits: usize,
        /// The number of edits that contain a value that the injector fetched.
        values: usize,
    },
    /// The injector did not inject, for the reason that it gives.
    Declined(InjectionError),
    /// The injector failed before it could answer.
    Failed(InjectorFailure),
    /// The injector returned an edit that is invalid for any pod.
    Rejected(String),
    /// The edits contradict the pod or an earlier edit.
    Conflict(String),
    /// The edits exceed a limit of the pod ([`PodLimits`]).
    TooLarge(String),
    /// Other admissions use the memory that the edits need.
    MemoryExhausted,
}

// === impl PodMutator ===

impl PodMutator {
    /// Creates a mutator that calls the injectors in this order.
    #[must_use]
    pub fn new(injectors: Vec<Arc<dyn SecretInjector>>, conventions: Conventions) -> Self {
        Self { injectors, conventions, limits: PodLimits::default() }
    }

    /// Sets the limits of a pod.
    #[must_use]
    pub fn with_limits(self, limits: PodLimits) -> Self {
        Self { limits, ..self }
    }

    /// Injects all secrets that the pod's annotations request, or none.
    ///
    /// `namespace` is that of the admission request. With deterministic injectors,
    /// `mutate(mutate(pod)) == mutate(pod)`.
    pub async fn mutate(&self, pod: &Pod, namespace: &str) -> Mutation {
        self.ask(pod, namespace, &UnlimitedMemory).await.finish()
    }

    /// Runs the first half of [`PodMutator::mutate`]: calls the injectors for every request, and
    /// applies their edits to a draft of the pod. Reserves memory for large patches.
    pub async fn ask<'a>(
        &'a self,
        pod: &'a Pod,
        namespace: &str,
        memory: &'a dyn AdmissionMemory,
    ) -> PendingMutation<'a> {
        let mut reports = Vec::new();
        let draft = match RequestedSecret::from_annotations(pod.annotations()) {
            Err(error) => Err(Refusal::for_annotation(&error)),
            Ok(requests) if requests.is_empty() => Ok(None),
            Ok(_) if pod.container_count() > self.limits.containers => Err(Refusal::for_containers(pod, &self.limits)),
            Ok(requests) => {
                let budget = EditBudget::new(&self.limits, memory);
                let draft = PodDraft::new(pod, &self.conventions, budget);
                self.serve_all(draft, namespace, requests, &mut reports).await.map(Some)
            }
        };
        PendingMutation { pod, draft, reports }
    }

    async fn serve_all<'a>(
        &'a self,
        mut draft: PodDraft<'a>,
        namespace: &str,
        requests: Vec<RequestedSecret>,
        reports: &mut Vec<RequestReport>,
    ) -> Result<PodDraft<'a>, Refusal> {
        let mut chain = Chain::open(&self.injectors);
        for requested in requests {
            let attempts = chain.serve(&requested, &mut draft, namespace).await;
            let report = RequestReport { annotation: requested.annotation, request: requested.request, attempts };
            let refusal = Refusal::for_report(&report);
            reports.push(report);
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
        }
        Ok(draft)
    }
}

// === impl PendingMutation ===

impl PendingMutation<'_> {
    /// Runs the second half of [`PodMutator::mutate`]: computes the patch.
    #[must_use]
    pub fn finish(self) -> Mutation {
        let outcome = self.draft.map(|draft| match draft {
            None => Admitted::without_requests(self.pod),
            Some(draft) => draft.finish(&self.reports),
        });
        Mutation { requests: self.reports, outcome }
    }
}

/// The injectors' sessions for one admission.
struct Chain<'a> {
    links: Vec<(&'a dyn SecretInjector, Box<dyn InjectorSession>)>,
}

// === impl Chain ===

impl<'a> Chain<'a> {
    fn open(injectors: &'a [Arc<dyn SecretInjector>]) -> Self {
        Self { links: injectors.iter().map(|injector| (&**injector, injector.open())).collect() }
    }

    /// Calls the injectors in order until one injects, denies, or causes a conflict. The draft
    /// changes only if one injects.
    async fn serve(&mut self, requested: &RequestedSecret, draft: &mut PodDraft<'a>, namespace: &str) -> Vec<Attempt> {
        let view = draft.view(namespace);
        let mut attempts = Vec::new();
        for (injector, session) in &mut self.links {
            let answer = match session.inject(&requested.request, &view).await {
                Ok(Ok(edits)) => {
                    draft.apply_all(&format!("injector {} for {}", injector.name(), requested.annotation), &edits)
                }
                Ok(Err(error)) => InjectorAnswer::Declined(error),
                Err(failure) => InjectorAnswer::Failed(failure),
            };
            let is_final = answer.is_final();
            let is_injected = matches!(answer, InjectorAnswer::Injected { .. });
            let found_name = session.found_name().filter(|_| is_injected).map(str::to_owned);
            attempts.push(Attempt {
                injector: injector.name().to_owned(),
                digest: injector.digest().map(str::to_owned),
                answer,
                found_name,
            });
            if is_final {
                break;
            }
        }
        attempts
    }
}

// === impl InjectorAnswer ===

impl InjectorAnswer {
    /// Returns the label for metrics and the audit log.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Injected { .. } => "injected",
            Self::Declined(error) => error.as_str(),
            Self::Failed(failure) => failure.kind.as_str(),
            Self::Rejected(_) => "rejected",
            Self::Conflict(_) => "conflict",
            Self::TooLarge(_) => "too-large",
            Self::MemoryExhausted => "memory-exhausted",
        }
    }

    /// Whether the chain calls no further injector after this answer.
    fn is_final(&self) -> bool {
        match self {
            Self::Injected { .. }
            | Self::Conflict(_)
            | Self::TooLarge(_)
            | Self::MemoryExhausted
            | Self::Declined(InjectionError::Denied(_)) => true,
            Self::Declined(_) | Self::Failed(_) | Self::Rejected(_) => false,
        }
    }
}

// === impl Admitted ===

impl Admitted {
    fn without_requests(pod: &Pod) -> Self {
        Self { patch: Patch::default(), warnings: warnings::without_requests(pod) }
    }
}
