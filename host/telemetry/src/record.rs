//! [`AdmissionRecord`]: the facts of one admission that the log, the trace and the audit trail
//! report.
//!
//! All three borrow the same record, so they cannot disagree. It holds no secret's value and
//! nothing of the pod's spec.

use std::time::Duration;

use ampoule_core::{AdmissionOutcome, RequestReport};
use tracing::info;

/// One admission that has ended.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionRecord<'a> {
    /// The review's `uid`.
    pub uid: &'a str,
    /// The namespace that the pod is created in.
    pub namespace: &'a str,
    /// The pod's name, or its `generateName`. May be empty.
    pub name: &'a str,
    /// The pod's service account. May be empty.
    pub service_account: &'a str,
    /// Whether the API server stores nothing.
    pub dry_run: bool,
    /// The result.
    pub outcome: AdmissionOutcome,
    /// The HTTP status code that the pod's creator gets.
    pub code: u16,
    /// The secrets that the pod requests, up to the first that failed, and the injectors called for
    /// each.
    pub requests: &'a [RequestReport],
    /// The time from the first byte of the request to the decision.
    pub elapsed: Duration,
}

// === impl AdmissionRecord ===

impl AdmissionRecord<'_> {
    /// Writes the log line of this admission.
    pub fn log(&self) {
        info!(
            uid = self.uid,
            namespace = self.namespace,
            name = self.name,
            dry_run = self.dry_run,
            outcome = self.outcome.as_str(),
            code = self.code,
            requests = self.requests.len(),
            micros = u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX),
            "admission"
        );
    }
}
