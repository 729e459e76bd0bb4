//! Who is told of every call, and of every refusal: [`CallObserver`], which the server implements with its metrics.
//!
//! An observer learns names, outcomes and times; never a request, an answer or a text that a guest wrote.

use std::time::Duration;

use ampoule_core::{FailureKind, Injection, InjectionError};

use crate::grants::Grant;

/// Is told of every call of a plugin, on the thread that made it: it must not block.
pub trait CallObserver: Send + Sync {
    /// The plugin of this name was asked, and it took this long, waiting for an instance included.
    fn called(&self, plugin: &str, outcome: CallOutcome, elapsed: Duration);

    /// The plugin of this name asked for something that it has no grant for, and was told so.
    fn denied(&self, plugin: &str, grant: Grant);
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallOutcome {
    /// Edits were returned.
    Injected,
    /// The plugin answered `not-found`.
    NotFound,
    /// The plugin answered `unsupported`.
    Unsupported,
    /// The plugin answered `invalid-request`.
    InvalidRequest,
    /// The plugin answered `denied`.
    Denied,
    /// The plugin answered `unavailable`.
    Unavailable,
    /// The plugin answered `internal`.
    Internal,
    /// The plugin did not get to answer.
    Failed(FailureKind),
}

// === impl Unobserved ===

impl CallObserver for Unobserved {
    fn called(&self, _plugin: &str, _outcome: CallOutcome, _elapsed: Duration) {}

    fn denied(&self, _plugin: &str, _grant: Grant) {}
}

// === impl CallOutcome ===

impl CallOutcome {
    /// The label value in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::NotFound => "not-found",
            Self::Unsupported => "unsupported",
            Self::InvalidRequest => "invalid-request",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
            Self::Failed(kind) => kind.as_str(),
        }
    }

    pub(crate) fn of(injection: &Injection) -> Self {
        match injection {
            Ok(Ok(_)) => Self::Injected,
            Ok(Err(InjectionError::NotFound(_))) => Self::NotFound,
            Ok(Err(InjectionError::Unsupported(_))) => Self::Unsupported,
            Ok(Err(InjectionError::InvalidRequest(_))) => Self::InvalidRequest,
            Ok(Err(InjectionError::Denied(_))) => Self::Denied,
            Ok(Err(InjectionError::Unavailable(_))) => Self::Unavailable,
            Ok(Err(_)) => Self::Internal,
            Err(failure) => Self::Failed(failure.kind),
        }
    }
}
