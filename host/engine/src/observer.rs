//! Who is told of every call, and of every refusal: [`CallObserver`], which the server implements with its metrics.
//!
//! An observer learns names, outcomes and times; never a request, an answer or a text that a guest wrote.

use std::{sync::Arc, time::Duration};

use ampoule_core::{FailureKind, Injection, InjectionError};

use crate::grants::Grant;

/// Knows whom to tell of each plugin.
pub trait CallObserver: Send + Sync {
    /// Whom to tell of the plugin of this name, whose component has this SHA-256 in hexadecimal. Asked once for each that is loaded, so
    /// that a call costs no look-up.
    fn of_plugin(&self, plugin: &str, digest: &str) -> Arc<dyn PluginObserver>;
}

/// Is told of every call of one plugin, on the thread that made it: it must not block.
pub trait PluginObserver: Send + Sync {
    /// The plugin was asked.
    fn called(&self, call: &Call);

    /// The plugin asked for something that it has no grant for, and was told so.
    fn denied(&self, grant: Grant);
}

/// One call of a plugin, and where its time went. By the clock on the wall: on a busy machine, waiting for a processor is in each part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What came of it.
    pub outcome: CallOutcome,
    /// From the question to the answer: all that follows, and a little for the host's own work between.
    pub elapsed: Duration,
    /// Waiting for an instance that it might have.
    pub queue: Duration,
    /// Making the instance and configuring it; none where it was there, from a secret of the same pod before.
    pub start: Option<Duration>,
    /// In the guest; of a call that was abandoned there, in what it called as well.
    pub guest: Duration,
    /// In what the guest called (look-ups of secrets, HTTP, its log lines), and in giving way to others where it computes for long. That
    /// of `configure` counts to the start.
    pub host: Duration,
    /// The linear memory of the instance, in bytes; none where there was none in the end.
    pub memory: Option<usize>,
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
    /// Nobody waits for the answer any more: the admission's own time was up, or who asked for it went.
    Abandoned,
}

// === impl Unobserved ===

impl CallObserver for Unobserved {
    fn of_plugin(&self, _plugin: &str, _digest: &str) -> Arc<dyn PluginObserver> {
        Arc::new(Self)
    }
}

impl PluginObserver for Unobserved {
    fn called(&self, _call: &Call) {}

    fn denied(&self, _grant: Grant) {}
}

// === impl CallOutcome ===

impl CallOutcome {
    /// Each of them.
    pub const ALL: [Self; 13] = [
        Self::Injected,
        Self::NotFound,
        Self::Unsupported,
        Self::InvalidRequest,
        Self::Denied,
        Self::Unavailable,
        Self::Internal,
        Self::Failed(FailureKind::Trap),
        Self::Failed(FailureKind::Deadline),
        Self::Failed(FailureKind::Limit),
        Self::Failed(FailureKind::Busy),
        Self::Failed(FailureKind::Start),
        Self::Abandoned,
    ];

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
            Self::Abandoned => "abandoned",
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
