//! [`CallObserver`]: receives every call of a plugin and every refusal. Metrics and traces
//! implement it.
//!
//! An observer gets names, outcomes and times. It never gets a request, an answer or a text that a
//! guest wrote.

use std::{sync::Arc, time::Duration};

use crate::{
    grant::Grant,
    host_credential::CredentialError,
    injector::{FailureKind, Injection, InjectionError},
};

/// Creates the observer of each plugin.
pub trait CallObserver: Send + Sync {
    /// Returns the observer of a plugin. `digest` is the SHA-256 of its component in hexadecimal.
    /// Called once per loaded plugin, so that a call needs no look-up.
    fn of_plugin(&self, plugin: &str, digest: &str) -> Arc<dyn PluginObserver>;
}

/// Receives the calls of one plugin, on the thread of the call: it must not block.
pub trait PluginObserver: Send + Sync {
    /// A call ended.
    fn called(&self, call: &Call);

    /// A call of the host was refused, because the plugin lacks this grant.
    fn denied(&self, grant: Grant);

    /// The value of a promise was used.
    fn value(&self, _origin: ValueOrigin) {}

    /// The host logged in for the plugin, or failed to.
    fn login(&self, _result: Result<(), CredentialError>) {}
}

/// Where the value of a promise is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueOrigin {
    /// From the store.
    Fetched,
    /// From the memory of the host.
    Cached,
    /// From the memory of the host, after its time, because the store is unavailable.
    Stale,
}

/// One call of a plugin, and the time of its phases. The times are wall-clock times: on a busy
/// machine they include waits for a processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The result.
    pub outcome: CallOutcome,
    /// Whether the edits are those of an earlier call, so that no guest planned them. A guest may
    /// have fetched their values.
    pub reused: bool,
    /// Time from request to answer: the sum of the phases and a little work of the host between
    /// them.
    pub elapsed: Duration,
    /// Time of waiting for an instance permit.
    pub queue: Duration,
    /// Time of creating and configuring the instance. `None` if the instance served an earlier
    /// secret of the same pod.
    pub start: Option<Duration>,
    /// Time spent in guest code, and in host calls that do not wait. For a call that was abandoned
    /// while the guest ran, it includes the waits.
    pub guest: Duration,
    /// Time of waiting: for host calls of the guest (reads of Secrets, HTTP), and while a computing
    /// guest yielded to others. Host calls of `configure` count as `start`.
    pub host: Duration,
    /// Bytes of linear memory of the instance. `None` if the call did not return.
    pub memory: Option<usize>,
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallOutcome {
    /// The plugin returned edits.
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
    /// The plugin did not answer.
    Failed(FailureKind),
    /// The caller no longer waits for the answer: the admission timed out, or its client
    /// disconnected.
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

// === impl ValueOrigin ===

impl ValueOrigin {
    /// All origins.
    pub const ALL: [Self; 3] = [Self::Fetched, Self::Cached, Self::Stale];

    /// Its label value in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Cached => "cached",
            Self::Stale => "stale",
        }
    }

    /// The origin for the next use of the same value.
    #[must_use]
    pub fn again(self) -> Self {
        match self {
            Self::Fetched | Self::Cached => Self::Cached,
            Self::Stale => Self::Stale,
        }
    }
}

// === impl CallOutcome ===

impl CallOutcome {
    /// All outcomes.
    pub const ALL: [Self; 14] = [
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
        Self::Failed(FailureKind::Answer),
        Self::Failed(FailureKind::Busy),
        Self::Failed(FailureKind::Start),
        Self::Abandoned,
    ];

    /// Its label value in metrics.
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

    /// The outcome of a call that returned this.
    #[must_use]
    pub fn from_injection(injection: &Injection) -> Self {
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
