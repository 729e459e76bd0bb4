//! The interface between the mutator and a secret backend: [`SecretInjector`] and its results.
//!
//! A backend's own error ([`InjectionError`]) and a failure to run the backend
//! ([`InjectorFailure`]) are different types: the first is for the pod's author, the second for the
//! cluster's admin.

use std::fmt;

use async_trait::async_trait;
use serde::{Serialize, Serializer};

use crate::{LazyPodView, PodEdit, SecretRequest};

/// A configured secret backend.
pub trait SecretInjector: Send + Sync {
    /// Returns the name of the backend in the configuration.
    fn name(&self) -> &str;

    /// Returns the SHA-256 of the backend's code in hexadecimal; `None` for code of this program.
    fn digest(&self) -> Option<&str> {
        None
    }

    /// Opens a session for one admission. Cheap: expensive work waits for the first request.
    ///
    /// An answer depends on the requests and the pod of its session, never on another session.
    fn open(&self) -> Box<dyn InjectorSession>;
}

/// An injector's session for one admission.
#[async_trait]
pub trait InjectorSession: Send {
    /// Returns the edits that put the secret into the pod.
    async fn inject(&mut self, request: &SecretRequest, pod: &LazyPodView) -> Injection;

    /// Returns the name under which the backend found the last injected secret, for the audit
    /// trail; `None` if the backend does not tell. Several requests can find the same secret.
    fn found_name(&self) -> Option<&str> {
        None
    }

    /// Takes the warnings for the pod's author about the last injected secret. They are printable
    /// and bounded.
    fn take_warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// The injector's answer, or the failure that prevented an answer.
pub type Injection = Result<Result<Vec<PodEdit>, InjectionError>, InjectorFailure>;

/// The reason why a backend did not inject, in its own words. The pod's author sees the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum InjectionError {
    /// The backend does not have the secret.
    #[error("not found: {0}")]
    NotFound(String),
    /// The backend cannot deliver the secret in the requested form.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// The backend cannot interpret the request.
    #[error("invalid request: {0}")]
    InvalidRequest(String),
    /// The pod must not have the secret. The mutator calls no further injector.
    #[error("denied: {0}")]
    Denied(String),
    /// The backend does not respond at the moment.
    #[error("unavailable: {0}")]
    Unavailable(Unavailable),
    /// The plugin has a bug.
    #[error("internal: {0}")]
    Internal(String),
}

/// The backend does not respond at the moment. Serializes to the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// The reason.
    pub text: String,
    /// Seconds after which a retry is useful, if the backend tells.
    pub retry_after: Option<u32>,
}

/// A failure that prevented an injector from answering.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{outside}")]
pub struct InjectorFailure {
    /// The kind of failure; determines the response code and the metric.
    pub kind: FailureKind,
    /// The message for the pod's author: names the plugin, its version, and the limit, if any.
    pub outside: String,
    /// Details for the admin and the plugin's author, printable, of several lines: what the code
    /// wrote last, such as an exception, and the error of the runtime.
    pub inside: String,
}

/// Kinds of [`InjectorFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The code trapped (unreachable, out of bounds, stack overflow, …).
    Trap,
    /// The code ran beyond its deadline.
    Deadline,
    /// The code exceeded a limit: memory, tables, host calls, output.
    Limit,
    /// The code returned without a valid answer.
    Answer,
    /// No instance was available in time.
    Busy,
    /// The code could not be instantiated or configured.
    Start,
}

// === impl InjectorFailure ===

impl InjectorFailure {
    /// Returns the reason of a trap, of a failed start or of a missing answer for the plugin's
    /// author, of several lines. Empty for other kinds, whose message is complete.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self.kind {
            FailureKind::Trap | FailureKind::Start | FailureKind::Answer => &self.inside,
            FailureKind::Deadline | FailureKind::Limit | FailureKind::Busy => "",
        }
    }
}

// === impl InjectionError ===

impl InjectionError {
    /// Returns the name of the case in the plugin contract.
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

// === impl Unavailable ===

impl From<String> for Unavailable {
    fn from(text: String) -> Self {
        Self { text, retry_after: None }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Unavailable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

// === impl FailureKind ===

impl FailureKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [Self::Trap, Self::Deadline, Self::Limit, Self::Answer, Self::Busy, Self::Start];

    /// Returns the label value in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Limit => "limit",
            Self::Answer => "invalid-answer",
            Self::Busy => "busy",
            Self::Start => "start",
        }
    }
}
