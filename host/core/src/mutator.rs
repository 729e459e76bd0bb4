//! The chain: every secret that a pod asks for, every injector in order, the first that injects wins.
//!
//! [`PodMutator::mutate`] is the whole of it; what it returns says who was asked and what each said, so that a refusal
//! and `ampoule explain` tell the same story.

mod draft;
mod refusal;
pub(crate) mod warnings;

use std::sync::Arc;

use json_patch::Patch;

use crate::{
    Conventions, InjectionError, InjectorFailure, InjectorSession, Pod, RequestedSecret, SecretInjector, SecretRequest,
};

use self::draft::Draft;

pub use self::refusal::{Refusal, RefusalCode};

/// Puts secrets into pods, by asking a fixed list of injectors in order.
pub struct PodMutator {
    injectors: Vec<Arc<dyn SecretInjector>>,
    conventions: Conventions,
    on_failure: OnFailure,
}

/// What becomes of a pod that cannot get a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It is refused.
    #[default]
    Deny,
    /// It is admitted as it came, with a warning (Flyte 1 does so without the warning).
    Admit,
}

/// A pod all of whose secrets were asked for.
pub struct Asked<'a> {
    pod: &'a Pod,
    /// None if nothing was asked for.
    draft: Result<Option<Draft<'a>>, Refusal>,
    reports: Vec<RequestReport>,
    on_failure: OnFailure,
}

/// What came of one pod.
#[derive(Clone, Debug)]
pub struct Mutation {
    /// Every request, in the order served, up to the first that failed.
    pub requests: Vec<RequestReport>,
    /// The pod as it is to be, or why not.
    pub outcome: Result<Admitted, Refusal>,
}

/// A pod that is admitted.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// What puts the secrets into the pod as it came: minimal, and the same to the byte for the same pod. Empty if nothing changes.
    pub patch: Patch,
    /// For the pod's author, shown by `kubectl`. A second review of the pod may have fewer: what was replaced is gone then.
    pub warnings: Vec<String>,
    /// Why it would have been refused, where it was admitted all the same ([`OnFailure::Admit`]), without any secret.
    pub overruled: Option<Refusal>,
}

/// One request and everybody who was asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestReport {
    /// The annotation that it came from.
    pub annotation: String,
    /// The request.
    pub request: SecretRequest,
    /// The injectors asked, in order.
    pub attempts: Vec<Attempt>,
}

/// One injector asked for one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its name.
    pub injector: String,
    /// What it said.
    pub answer: Answer,
}

/// What an injector said, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It injected, with this many edits.
    Injected {
        /// How many edits it asked for.
        edits: usize,
    },
    /// It did not inject, in its own words.
    Declined(InjectionError),
    /// It did not get to answer.
    Failed(InjectorFailure),
    /// It answered with an edit that cannot be applied.
    Rejected(String),
    /// Its edits contradict the pod, or another injector's.
    Conflict(String),
}

// === impl PodMutator ===

impl PodMutator {
    /// A chain of injectors, asked in this order.
    #[must_use]
    pub fn new(injectors: Vec<Arc<dyn SecretInjector>>, conventions: Conventions, on_failure: OnFailure) -> Self {
        Self { injectors, conventions, on_failure }
    }

    /// The digest of the injector of this name, if it has one.
    #[must_use]
    pub fn digest_of(&self, injector: &str) -> Option<&str> {
        self.injectors.iter().find(|known| known.name() == injector)?.digest()
    }

    /// Puts every secret into the pod that its annotations ask for, or none.
    ///
    /// `namespace` is where the pod is to be created. `mutate(mutate(pod)) == mutate(pod)` for deterministic injectors.
    pub async fn mutate(&self, pod: &Pod, namespace: &str) -> Mutation {
        self.ask(pod, namespace).await.finish()
    }

    /// The first half of [`PodMutator::mutate`]: asks for every secret, and notes what the answers change in the pod.
    pub async fn ask<'a>(&'a self, pod: &'a Pod, namespace: &str) -> Asked<'a> {
        let mut reports = Vec::new();
        let draft = match RequestedSecret::from_annotations(pod.annotations()) {
            Err(error) => Err(Refusal::bad_annotation(&error)),
            Ok(requests) if requests.is_empty() => Ok(None),
            Ok(requests) => self.serve_all(pod, namespace, requests, &mut reports).await.map(Some),
        };
        Asked { pod, draft, reports, on_failure: self.on_failure }
    }

    async fn serve_all<'a>(
        &'a self,
        pod: &'a Pod,
        namespace: &str,
        requests: Vec<RequestedSecret>,
        reports: &mut Vec<RequestReport>,
    ) -> Result<Draft<'a>, Refusal> {
        let mut draft = Draft::new(pod, &self.conventions);
        let mut chain = Chain::open(&self.injectors);
        for requested in requests {
            let attempts = chain.serve(&requested, &mut draft, namespace).await;
            let RequestedSecret { annotation, request } = requested;
            reports.push(RequestReport { annotation, request, attempts });
            if let Some(refusal) = reports.last().and_then(Refusal::of) {
                return Err(refusal);
            }
        }
        Ok(draft)
    }
}

// === impl Asked ===

impl Asked<'_> {
    /// The second half of [`PodMutator::mutate`]: the patch.
    #[must_use]
    pub fn finish(self) -> Mutation {
        let Self { pod, draft, reports: requests, on_failure } = self;
        let outcome = match (draft, on_failure) {
            (Ok(None), _) => Ok(Admitted::unasked(pod)),
            (Ok(Some(draft)), _) => Ok(draft.finish(&requests)),
            (Err(refusal), OnFailure::Deny) => Err(refusal),
            (Err(refusal), OnFailure::Admit) => Ok(Admitted::without_secrets(refusal)),
        };
        Mutation { requests, outcome }
    }
}

/// The injectors at work on one admission.
struct Chain<'a> {
    links: Vec<(&'a str, Box<dyn InjectorSession>)>,
}

// === impl Chain ===

impl<'a> Chain<'a> {
    fn open(injectors: &'a [Arc<dyn SecretInjector>]) -> Self {
        Self { links: injectors.iter().map(|injector| (injector.name(), injector.open())).collect() }
    }

    /// Asks one injector after the other until one injects or forbids. The draft changes only if one injects.
    async fn serve(&mut self, requested: &RequestedSecret, draft: &mut Draft<'a>, namespace: &str) -> Vec<Attempt> {
        let RequestedSecret { annotation, request } = requested;
        let view = draft.view(namespace);
        let mut attempts = Vec::new();
        for (name, session) in &mut self.links {
            let answer = match session.inject(request, &view).await {
                Ok(Ok(edits)) => draft.take(&format!("injector {name} for {annotation}"), edits),
                Ok(Err(error)) => Answer::Declined(error),
                Err(failure) => Answer::Failed(failure),
            };
            let last = answer.ends_the_search();
            attempts.push(Attempt { injector: (*name).to_owned(), answer });
            if last {
                break;
            }
        }
        attempts
    }
}

// === impl Answer ===

impl Answer {
    /// What it amounts to, in a word: as metrics and audit have it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Injected { .. } => "injected",
            Self::Declined(error) => error.as_str(),
            Self::Failed(failure) => failure.kind.as_str(),
            Self::Rejected(_) => "rejected",
            Self::Conflict(_) => "conflict",
        }
    }

    /// Whether nobody else is asked after this.
    fn ends_the_search(&self) -> bool {
        match self {
            Self::Injected { .. } | Self::Conflict(_) | Self::Declined(InjectionError::Denied(_)) => true,
            Self::Declined(_) | Self::Failed(_) | Self::Rejected(_) => false,
        }
    }
}

// === impl Admitted ===

impl Admitted {
    fn unasked(pod: &Pod) -> Self {
        Self { patch: Patch::default(), warnings: warnings::unasked(pod), overruled: None }
    }

    fn without_secrets(refusal: Refusal) -> Self {
        let warning = format!("admitted without its secrets (onFailure: admit): {}", refusal.message);
        Self { patch: Patch::default(), warnings: vec![warning], overruled: Some(refusal) }
    }
}
