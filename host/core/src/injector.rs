//! What the mutator asks of a secret backend: [`SecretInjector`], and the answers it understands.
//!
//! An answer of the backend ([`InjectionError`]) and a failure of the thing that runs it ([`InjectorFailure`]) are
//! different types: the first is for the pod's author, the second for the cluster's admin.

use async_trait::async_trait;
use serde::Serialize;

use crate::{PodEdit, PodView, SecretRequest};

/// A configured secret backend.
pub trait SecretInjector: Send + Sync {
    /// The name that the configuration gives it.
    fn name(&self) -> &str;

    /// The SHA-256 of the code that it is, in hexadecimal; none where it is a part of this program.
    fn digest(&self) -> Option<&str> {
        None
    }

    /// Opens the work on one admission. Cheap: whatever costs is put off until the session is first asked.
    ///
    /// Two sessions share nothing that a request can change.
    fn open(&self) -> Box<dyn InjectorSession>;
}

/// One injector at work on one admission.
#[async_trait]
pub trait InjectorSession: Send {
    /// Asks for the edits that put the secret into the pod.
    async fn inject(&mut self, request: &SecretRequest, pod: &PodView) -> Injection;
}

/// The injector's answer, or the failure that kept it from answering.
pub type Injection = Result<Result<Vec<PodEdit>, InjectionError>, InjectorFailure>;

/// Why a backend did not inject, in its own words. The text is shown to the pod's author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum InjectionError {
    /// The backend has no such secret.
    #[error("not found: {0}")]
    NotFound(String),
    /// The backend cannot deliver in the form asked for.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// The request makes no sense to the backend.
    #[error("invalid request: {0}")]
    InvalidRequest(String),
    /// The pod must not have this secret; nobody else is asked.
    #[error("denied: {0}")]
    Denied(String),
    /// The backend does not answer now.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The plugin is at fault.
    #[error("internal: {0}")]
    Internal(String),
}

/// An injector that did not get to answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{outside}")]
pub struct InjectorFailure {
    /// What kind of failure, for the answer's code and the metric.
    pub kind: FailureKind,
    /// What the pod's author is told: names the plugin and its version, and the limit if there is one.
    pub outside: String,
    /// What the log says in addition, for the admin.
    pub inside: String,
}

/// Kinds of [`InjectorFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The code trapped (unreachable, out of bounds, stack overflow, …).
    Trap,
    /// It ran for longer than its deadline.
    Deadline,
    /// It wanted more than a limit gives: memory, tables, host calls, output.
    Limit,
    /// No instance could be had in time.
    Busy,
    /// It could not be instantiated or configured.
    Start,
}

// === impl InjectionError ===

impl InjectionError {
    /// Its name in the contract.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not-found",
            Self::Unsupported(_) => "unsupported",
            Self::InvalidRequest(_) => "invalid-request",
            Self::Denied(_) => "denied",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }
}

// === impl FailureKind ===

impl FailureKind {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Trap, Self::Deadline, Self::Limit, Self::Busy, Self::Start];

    /// The label value in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Limit => "limit",
            Self::Busy => "busy",
            Self::Start => "start",
        }
    }
}
