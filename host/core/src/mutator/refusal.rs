//! Refusals: the code for the pod's creator, and the message for the pod's author.
//!
//! The codes follow Flyte's reaction to them (flyte-behaviour section 10): 400 is the author's
//! error and final, 403 is a policy, 429 and 503 can be retried, and 500 is a bug in a plugin.

use std::fmt;

use super::{InjectorAnswer, RequestReport};
use crate::{
    delivery::DeliveryError,
    injector::{FailureKind, InjectionError},
    limits::PodLimits,
    pod::Pod,
    policy::PolicyFinding,
    request::{AnnotationError, shown_place},
    text,
};

/// Maximum length of a message in bytes, so that an API error fits a terminal.
const MAX_MESSAGE: usize = 4096;

/// A refused pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The class, which determines the response code.
    pub code: RefusalCode,
    /// The message, of at most 4 KiB: names the secret, and every injector with its reason.
    /// Contains no secret values.
    pub message: String,
    /// Seconds after which a retry is useful, if the backend tells. Only for
    /// [`RefusalCode::Unavailable`] and [`RefusalCode::TooManyRequests`].
    pub retry_after: Option<u32>,
}

/// Classes of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalCode {
    /// The pod is invalid, or no injector has its secret. A retry does not help.
    BadRequest,
    /// A backend or a policy rule denies the secret.
    Forbidden,
    /// A plugin has a bug.
    Internal,
    /// A backend or plugin did not respond. A retry may help.
    Unavailable,
    /// Too many concurrent admissions; no injector was called. A retry helps.
    TooManyRequests,
}

// === impl RefusalCode ===

impl RefusalCode {
    /// Returns the HTTP status code in the review's status.
    #[must_use]
    pub fn http(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::TooManyRequests => 429,
        }
    }

    /// Returns the `reason` in the review's status, in Kubernetes' spelling.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Forbidden => "Forbidden",
            Self::Internal => "InternalError",
            Self::Unavailable => "ServiceUnavailable",
            Self::TooManyRequests => "TooManyRequests",
        }
    }

    /// Returns the code of a single answer; `None` if the answer injected.
    fn for_answer(answer: &InjectorAnswer) -> Option<Self> {
        match answer {
            InjectorAnswer::Injected { .. } => None,
            InjectorAnswer::Declined(error) => Some(Self::for_error(error)),
            InjectorAnswer::Failed(failure) => Some(Self::for_failure(failure.kind)),
            InjectorAnswer::Rejected(_) => Some(Self::Internal),
            InjectorAnswer::Conflict(_) | InjectorAnswer::TooLarge(_) => Some(Self::BadRequest),
            InjectorAnswer::MemoryExhausted => Some(Self::TooManyRequests),
        }
    }

    fn for_error(error: &InjectionError) -> Self {
        match error {
            InjectionError::Denied(_) => Self::Forbidden,
            InjectionError::Unavailable(_) => Self::Unavailable,
            InjectionError::Internal(_) => Self::Internal,
            InjectionError::NotFound(_) | InjectionError::Unsupported(_) | InjectionError::InvalidRequest(_) => {
                Self::BadRequest
            }
        }
    }

    fn for_failure(kind: FailureKind) -> Self {
        match kind {
            // A retry does not help: the plugin has a defect.
            FailureKind::Trap | FailureKind::Limit | FailureKind::Answer => Self::Internal,
            FailureKind::Deadline | FailureKind::Busy | FailureKind::Start => Self::Unavailable,
        }
    }
}

// === impl Refusal ===

impl Refusal {
    /// Returns the refusal for a report; `None` if an injector injected, or if the secret is
    /// optional and absent.
    pub(super) fn for_report(report: &RequestReport) -> Option<Self> {
        if let Some(finding) = report.findings.iter().find(|finding| finding.denies()) {
            return Some(Self::for_finding(report, finding));
        }
        if report.is_absent() {
            return None;
        }
        let last = report.attempts.last().map(|attempt| &attempt.answer);
        let code = match last {
            Some(InjectorAnswer::Injected { .. }) => return None,
            // These end the chain, and determine the code independent of earlier answers.
            Some(
                answer @ (InjectorAnswer::Conflict(_)
                | InjectorAnswer::TooLarge(_)
                | InjectorAnswer::MemoryExhausted
                | InjectorAnswer::Declined(InjectionError::Denied(_))),
            ) => RefusalCode::for_answer(answer),
            _ => report.attempts.iter().filter_map(|attempt| RefusalCode::for_answer(&attempt.answer)).max(),
        };
        let code = code.unwrap_or(RefusalCode::BadRequest);
        let retry_after = (code == RefusalCode::Unavailable).then(|| report.retry_after()).flatten();
        Some(Self { code, message: shown(&report.to_string()), retry_after })
    }

    /// Returns the refusal for a request that a policy rule denies.
    fn for_finding(report: &RequestReport, finding: &PolicyFinding) -> Self {
        let (annotation, request) = (shown_place(&report.annotation), &report.request);
        let injector = finding.injector.as_ref().map(|name| format!(" for injector {name}")).unwrap_or_default();
        let message =
            format!("secret {request} ({annotation}, mount {}) is denied{injector}: {finding}", request.mount);
        Self { code: RefusalCode::Forbidden, message: shown(&message), retry_after: None }
    }

    /// Returns the refusal for a pod with too many containers.
    pub(super) fn for_containers(pod: &Pod, limits: &PodLimits) -> Self {
        let message = format!(
            "the pod has {} containers; secrets are injected into at most {} (pods.maxContainers); use fewer \
             containers",
            pod.container_count(),
            limits.containers
        );
        Self { code: RefusalCode::BadRequest, message, retry_after: None }
    }

    /// Returns the refusal for an ephemeral container that needs what the running pod lacks.
    pub(super) fn for_update(missing: &str) -> Self {
        let message = format!(
            "the ephemeral container cannot get its secrets: the running pod does not have {missing}, and cannot get \
             it; create the pod again with the same annotations, request a variable from a Kubernetes Secret instead, \
             or remove the annotations for this session"
        );
        Self { code: RefusalCode::BadRequest, message: shown(&message), retry_after: None }
    }

    /// Returns the refusal for values that could not be delivered.
    pub(super) fn for_delivery(error: &DeliveryError) -> Self {
        let code = match error {
            DeliveryError::Denied(_) => RefusalCode::Forbidden,
            DeliveryError::Refused(_) => RefusalCode::BadRequest,
            DeliveryError::Unavailable(_) => RefusalCode::Unavailable,
        };
        Self { code, message: shown(&error.to_string()), retry_after: None }
    }

    /// Returns the refusal for a pod that does not accept the container that fetches values.
    pub(super) fn for_container(answer: &InjectorAnswer) -> Self {
        let code = RefusalCode::for_answer(answer).unwrap_or(RefusalCode::Internal);
        let reason = match answer {
            InjectorAnswer::Conflict(text) | InjectorAnswer::TooLarge(text) | InjectorAnswer::Rejected(text) => text,
            _ => "the memory is in use by other admissions",
        };
        let message = format!("the container that fetches the values of the pod cannot be added: {reason}");
        Self { code, message: shown(&message), retry_after: None }
    }

    /// Returns the refusal for references whose texts cannot be kept.
    pub(super) fn for_references(answer: &InjectorAnswer) -> Self {
        let code = RefusalCode::for_answer(answer).unwrap_or(RefusalCode::Internal);
        let message = format!("the texts of the references in variables cannot be kept in an annotation: {answer}");
        Self { code, message: shown(&message), retry_after: None }
    }

    /// Returns the refusal for an annotation that cannot be parsed.
    pub(super) fn for_annotation(error: &AnnotationError) -> Self {
        Self { code: RefusalCode::BadRequest, message: shown(&error.to_string()), retry_after: None }
    }
}

impl fmt::Display for RequestReport {
    /// Writes one sentence with the reason of every injector, in the order of the calls. If the
    /// sentence is too long, the longest reasons are cut, and every injector remains named.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let annotation = shown_place(&self.annotation);
        let (request, mount) = (&self.request, self.request.mount);
        let head = format!("secret {request} ({annotation}, mount {mount}) could not be injected");
        if self.attempts.is_empty() {
            return write!(f, "{head}: no injector is configured");
        }
        let mut separator = ':';
        let mut parts = Vec::with_capacity(self.attempts.len());
        for attempt in &self.attempts {
            parts.push((format!("{separator} {}: ", attempt.injector), attempt.answer.to_string()));
            separator = ';';
        }
        let names: usize = parts.iter().map(|(name, _)| name.len()).sum();
        let reasons = parts.iter().map(|(_, reason)| reason.len()).collect();
        let share = fair_share(reasons, MAX_MESSAGE.saturating_sub(head.len() + names));
        f.write_str(&head)?;
        parts.iter().try_for_each(|(name, reason)| write!(f, "{name}{}", text::truncate(reason, share, "…")))
    }
}

impl fmt::Display for InjectorAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Injected { edits: 1, .. } => f.write_str("injected (1 edit)"),
            Self::Injected { edits, .. } => write!(f, "injected ({edits} edits)"),
            Self::Declined(error) => error.fmt(f),
            Self::Failed(failure) => failure.fmt(f),
            Self::Rejected(reason) => write!(f, "returned an invalid edit: {reason}"),
            Self::Conflict(reason) => write!(f, "conflict: {reason}"),
            Self::TooLarge(reason) => write!(f, "too large: {reason}"),
            Self::MemoryExhausted => {
                f.write_str("the webhook's memory is in use by other admissions; retry in a second")
            }
        }
    }
}

/// Returns the maximum length for each of several texts, so that all of them fit into `room`. Short
/// texts leave their unused share to the others.
fn fair_share(mut lengths: Vec<usize>, mut room: usize) -> usize {
    lengths.sort_unstable();
    let mut remaining = lengths.len();
    for length in lengths {
        let share = room / remaining;
        if length > share {
            return share;
        }
        room -= length;
        remaining -= 1;
    }
    usize::MAX
}

/// Makes a message safe for a terminal: names of the pod and reasons of plugins can contain line
/// breaks, escape sequences and marks of the reading direction. Cuts it as a last resort: with more
/// injectors than fit, or a very long annotation key.
fn shown(message: &str) -> String {
    text::truncate(&text::printable(message), MAX_MESSAGE, " … (shortened)").into_owned()
}
