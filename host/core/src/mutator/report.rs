//! The report of an admission: each request, and the injectors that were called for it.
//!
//! Refusals, `ampoule explain` and the audit trail read it.

use crate::{
    edit::PodEdit,
    injector::{InjectionError, InjectorFailure},
    policy::PolicyFinding,
    request::{RequestOptions, RequestedSecret, SecretRequest},
};

/// A request and the injectors that were called for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestReport {
    /// The annotation that contains the request.
    pub annotation: String,
    /// The request.
    pub request: SecretRequest,
    /// What the host does with the answer.
    pub options: RequestOptions,
    /// The calls of injectors, in order.
    pub attempts: Vec<Attempt>,
    /// The policy rules that matched or failed, in the order of their evaluation. The last one
    /// that denies decided.
    pub findings: Vec<PolicyFinding>,
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
    /// The name under which the injector found the secret ([`crate::InjectorSession::found_name`]).
    pub found_name: Option<String>,
    /// Warnings of the injector for the pod's author.
    pub warnings: Vec<String>,
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
        /// The number of edits that refer to a Kubernetes Secret. The host does not know whether it
        /// exists.
        references: usize,
    },
    /// The injector did not inject, for the reason that it gives.
    Declined(InjectionError),
    /// The injector failed before it could answer.
    Failed(InjectorFailure),
    /// The injector returned an edit that is invalid for any pod.
    Rejected(String),
    /// The edits contradict the pod or an earlier edit.
    Conflict(String),
    /// The edits exceed a limit of the pod ([`crate::PodLimits`]).
    TooLarge(String),
    /// Other admissions use the memory that the edits need.
    MemoryExhausted,
}

// === impl RequestReport ===

impl RequestReport {
    /// The longest time after which a backend that did not respond asks to retry.
    pub(super) fn retry_after(&self) -> Option<u32> {
        let answers = self.attempts.iter().filter_map(|attempt| match &attempt.answer {
            InjectorAnswer::Declined(InjectionError::Unavailable(unavailable)) => unavailable.retry_after,
            _ => None,
        });
        answers.max()
    }

    /// The calls before the last one that failed: the chain went on to the next injector.
    pub fn passed_over(&self) -> impl Iterator<Item = &Attempt> {
        let earlier = self.attempts.len().saturating_sub(1);
        self.attempts[..earlier].iter().filter(|attempt| attempt.answer.is_failure())
    }

    pub(super) fn without_calls((requested, findings): (RequestedSecret, Vec<PolicyFinding>)) -> Self {
        let RequestedSecret { annotation, request, options } = requested;
        Self { annotation, request, options, attempts: Vec::new(), findings }
    }

    /// Whether no backend has the secret, and the pod starts without it.
    pub(super) fn is_absent(&self) -> bool {
        let is_absent = |attempt: &Attempt| {
            matches!(
                attempt.answer,
                InjectorAnswer::Declined(
                    InjectionError::NotFound(_) | InjectionError::Unsupported(_) | InjectionError::InvalidRequest(_)
                )
            )
        };
        let is_missing =
            |attempt: &Attempt| matches!(attempt.answer, InjectorAnswer::Declined(InjectionError::NotFound(_)));
        let attempts = &self.attempts;
        self.options.is_optional() && attempts.iter().all(is_absent) && attempts.iter().any(is_missing)
    }
}

// === impl InjectorAnswer ===

impl InjectorAnswer {
    /// The answer of an injector whose edits are applied.
    pub(super) fn injected(edits: &[PodEdit]) -> Self {
        let values = edits.iter().filter(|edit| edit.contains_value()).count();
        let references = edits.iter().filter(|edit| edit.refers_to_secret()).count();
        Self::Injected { edits: edits.len(), values, references }
    }

    /// Returns the word for the audit trail.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Injected { values: 0, references: 1.., .. } => "referenced",
            Self::Injected { .. } => "injected",
            Self::Declined(error) => error.as_str(),
            Self::Failed(failure) => failure.kind.as_str(),
            Self::Rejected(_) => "rejected",
            Self::Conflict(_) => "conflict",
            Self::TooLarge(_) => "too-large",
            Self::MemoryExhausted => "memory-exhausted",
        }
    }

    /// Whether the injector could not do its part, so that an admin should know even if another
    /// injector serves the request.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Failed(_)
            | Self::Rejected(_)
            | Self::Declined(InjectionError::Unavailable(_) | InjectionError::Internal(_)) => true,
            Self::Injected { .. }
            | Self::Declined(_)
            | Self::Conflict(_)
            | Self::TooLarge(_)
            | Self::MemoryExhausted => false,
        }
    }

    /// Whether the chain calls no further injector after this answer.
    pub(super) fn is_final(&self) -> bool {
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
