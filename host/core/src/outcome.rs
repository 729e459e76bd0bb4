//! [`AdmissionOutcome`]: the result of an admission, for metrics and the log.
//!
//! The label values are part of the interface: dashboards and alerts use them.

use crate::mutator::RefusalCode;

/// The result of an admission, for metrics and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdmissionOutcome {
    /// Allowed with a patch.
    Mutated,
    /// Allowed, there was nothing to do.
    Unchanged,
    /// Allowed without the secrets it asked for (`onFailure: admit`).
    AdmittedWithoutSecrets,
    /// Not the creation of a pod: allowed as it is.
    OutOfScope,
    /// Refused with code 400.
    Refused,
    /// Refused with code 403.
    Denied,
    /// Refused with code 503.
    Unavailable,
    /// Refused with code 429.
    Overloaded,
    /// Refused with code 500.
    Error,
}

// === impl AdmissionOutcome ===

impl AdmissionOutcome {
    /// Every outcome.
    pub const ALL: [Self; 9] = [
        Self::Mutated,
        Self::Unchanged,
        Self::AdmittedWithoutSecrets,
        Self::OutOfScope,
        Self::Refused,
        Self::Denied,
        Self::Unavailable,
        Self::Overloaded,
        Self::Error,
    ];

    /// The label value in metrics, and the word in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mutated => "mutated",
            Self::Unchanged => "unchanged",
            Self::AdmittedWithoutSecrets => "admitted-without-secrets",
            Self::OutOfScope => "out-of-scope",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::Error => "error",
        }
    }
}

impl From<RefusalCode> for AdmissionOutcome {
    fn from(code: RefusalCode) -> Self {
        match code {
            RefusalCode::BadRequest => Self::Refused,
            RefusalCode::Forbidden => Self::Denied,
            RefusalCode::Internal => Self::Error,
            RefusalCode::Unavailable => Self::Unavailable,
            RefusalCode::TooManyRequests => Self::Overloaded,
        }
    }
}
