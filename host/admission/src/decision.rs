//! [`Decision`]: the result of one admission. Outcome, code and verdict follow from it and from
//! nothing else.
//!
//! Codes and reasons: flyte-behaviour section 10.

use ampoule_core::{AdmissionOutcome, Admitted, PodError, Refusal, RefusalCode};
use ampoule_review::Verdict;
use json_patch::Patch;

/// The result of an admission.
#[derive(Clone, Debug)]
pub enum Decision {
    /// The request does not create a pod. It is allowed as it is.
    OutOfScope,
    /// The pod is allowed with all of its secrets. The patch is empty if it requests none, or has
    /// them already.
    Admitted(Admitted),
    /// The pod is allowed without its secrets, because of `onFailure: admit`.
    AdmittedWithoutSecrets(Refusal),
    /// The pod is refused.
    Refused(Refusal),
}

// === impl Decision ===

impl Decision {
    /// Allowed without changes.
    #[must_use]
    pub fn unchanged() -> Self {
        Self::Admitted(Admitted::default())
    }

    /// Refuses an object that is not a pod.
    #[must_use]
    pub fn refuse_object(error: &PodError) -> Self {
        Self::Refused(Refusal { code: RefusalCode::BadRequest, message: error.to_string(), retry_after: None })
    }

    /// The label in metrics, and the word in the log and the audit trail.
    #[must_use]
    pub fn outcome(&self) -> AdmissionOutcome {
        match self {
            Self::OutOfScope => AdmissionOutcome::OutOfScope,
            Self::Admitted(admitted) if admitted.patch.0.is_empty() => AdmissionOutcome::Unchanged,
            Self::Admitted(_) => AdmissionOutcome::Mutated,
            Self::AdmittedWithoutSecrets(_) => AdmissionOutcome::AdmittedWithoutSecrets,
            Self::Refused(refusal) => AdmissionOutcome::from(refusal.code),
        }
    }

    /// The HTTP status code that the pod's creator gets.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::OutOfScope | Self::Admitted(_) | Self::AdmittedWithoutSecrets(_) => 200,
            Self::Refused(refusal) => refusal.code.http(),
        }
    }

    /// The patch and the warnings of a pod that is allowed, or the refusal.
    ///
    /// # Errors
    ///
    /// The refusal, if the pod is refused.
    pub fn into_result(self) -> Result<Admitted, Refusal> {
        match self {
            Self::OutOfScope => Ok(Admitted::default()),
            Self::Admitted(admitted) => Ok(admitted),
            Self::AdmittedWithoutSecrets(refusal) => {
                let warning = format!("admitted without its secrets (onFailure: admit): {}", refusal.message);
                Ok(Admitted { patch: Patch::default(), warnings: vec![warning] })
            }
            Self::Refused(refusal) => Err(refusal),
        }
    }
}

impl From<Decision> for Verdict {
    fn from(decision: Decision) -> Self {
        match decision.into_result() {
            Ok(admitted) => Self::Allowed { patch: admitted.patch, warnings: admitted.warnings },
            Err(refusal) => refusal.into(),
        }
    }
}
