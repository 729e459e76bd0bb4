//! Who got which secret: [`Trail`], as log lines of a target of their own ([`AUDIT_TARGET`]) and as an annotation of the API server's audit event.
//!
//! A line says the pod, its service account, the secret by its group and key, who was asked for it last and what that one said; never a
//! value. It is written at whatever level the rest of the log is, and switched off by `audit.log` only.

use ampoule_core::{Attempt, PodMutator, RequestReport};
use serde::Serialize;
use tracing::info;

use crate::excerpt::cut;
use ampoule_telemetry::log::AUDIT_TARGET;

/// An audit event may be dropped or cut where it is large; a pod has a handful of secrets. The log has all.
const MOST_IN_ANNOTATION: usize = 32;

/// What became of a pod's secrets.
#[derive(Clone, Copy)]
pub(crate) struct Trail<'a> {
    pub reports: &'a [RequestReport],
    /// Who was asked.
    pub mutator: &'a PodMutator,
    /// What came of the pod, as metrics have it.
    pub verdict: &'static str,
}

/// What became of one secret. A pod's author may have written names of any length.
#[derive(Serialize)]
struct Entry<'a> {
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    key: &'a str,
    /// Who was asked last; empty if nobody was.
    injector: &'a str,
    /// The SHA-256 of its component; empty where it has none.
    #[serde(skip_serializing_if = "str::is_empty")]
    digest: &'a str,
    /// What that one said.
    answer: &'static str,
    /// What came of the pod: one that was refused, or admitted without its secrets, has not what was injected.
    verdict: &'static str,
}

/// The pod that it is about.
pub(crate) struct Subject<'a> {
    pub uid: &'a str,
    pub namespace: &'a str,
    pub pod: &'a str,
    pub service_account: &'a str,
    pub dry_run: bool,
}

// === impl Trail ===

impl<'a> Trail<'a> {
    /// A line for each secret.
    pub(crate) fn log(self, subject: &Subject<'_>) {
        let Subject { uid, namespace, pod, service_account, dry_run } = *subject;
        for Entry { group, version, key, injector, digest, answer, verdict } in self.entries() {
            info!(
                target: AUDIT_TARGET,
                uid, namespace, pod, service_account, dry_run, group, version, key, injector, digest, answer, verdict,
                "secret"
            );
        }
    }

    /// The value of the audit event's annotation `secrets`: a JSON list; none if no secret was asked for.
    pub(crate) fn annotation(self) -> Option<String> {
        let entries: Vec<_> = self.entries().take(MOST_IN_ANNOTATION).collect();
        (!entries.is_empty()).then(|| serde_json::to_string(&entries).expect("strings are JSON"))
    }

    fn entries(self) -> impl Iterator<Item = Entry<'a>> {
        let Self { reports, mutator, verdict } = self;
        reports.iter().map(move |RequestReport { annotation: _, request, attempts }| {
            let last = attempts.last();
            let injector = last.map_or("", |Attempt { injector, .. }| injector);
            Entry {
                group: cut(&request.group),
                version: cut(&request.group_version),
                key: cut(&request.key),
                injector,
                digest: mutator.digest_of(injector).unwrap_or_default(),
                answer: last.map_or("nobody-asked", |attempt| attempt.answer.as_str()),
                verdict,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use ampoule_core::{OnFailure, Profile, SecretRequest};
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_annotation_stays_short_whatever_a_pod_asks_for() {
        let mutator = PodMutator::new(Vec::new(), Profile::FlyteV1.conventions(), OnFailure::Deny);
        let request = SecretRequest { group: "g".repeat(100_000), key: "k".to_owned(), ..SecretRequest::default() };
        let report = RequestReport { annotation: "flyte.secrets/s0".to_owned(), request, attempts: Vec::new() };
        let reports = vec![report; MOST_IN_ANNOTATION + 1];
        let annotation = Trail { reports: &reports, mutator: &mutator, verdict: "refused" }.annotation().unwrap();
        let entries: Vec<Value> = serde_json::from_str(&annotation).unwrap();
        assert_eq!(entries.len(), MOST_IN_ANNOTATION);
        assert!(annotation.len() < 32 << 10, "{}", annotation.len());
        assert_eq!(Trail { reports: &[], mutator: &mutator, verdict: "unchanged" }.annotation(), None);
    }
}
