//! Who got which secret: [`Trail`], as log lines of a target of their own ([`TARGET`]) and as an annotation of the API server's audit event.
//!
//! A line says the pod, its service account, the secret by its group and key, who was asked for it last and what that one said; never a
//! value. It is written at whatever level the rest of the log is, and switched off by `audit.log` only.

use ampoule_core::{Attempt, PodMutator, RequestReport};
use serde::Serialize;
use tracing::info;

/// The log's target.
pub(crate) const TARGET: &str = "audit";

/// An audit event may be dropped or cut where it is large; a pod has a handful of secrets.
const MOST_IN_ANNOTATION: usize = 32;

/// What became of a pod's secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trail(Vec<Entry>);

/// What became of one secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    key: String,
    /// Who was asked last; empty if nobody was.
    injector: String,
    /// The SHA-256 of its component; empty where it has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    digest: String,
    /// What that one said.
    answer: &'static str,
}

/// The pod that it is about.
pub(crate) struct Subject<'a> {
    pub(crate) uid: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) pod: &'a str,
    pub(crate) service_account: &'a str,
    pub(crate) dry_run: bool,
    /// What came of it, as metrics have it.
    pub(crate) verdict: &'static str,
}

// === impl Trail ===

impl Trail {
    pub(crate) fn of(reports: &[RequestReport], mutator: &PodMutator) -> Self {
        let entry = |RequestReport { annotation: _, request, attempts }: &RequestReport| {
            let last = attempts.last();
            let injector = last.map_or("", |Attempt { injector, .. }| injector);
            Entry {
                group: request.group.clone(),
                version: request.group_version.clone(),
                key: request.key.clone(),
                injector: injector.to_owned(),
                digest: mutator.digest_of(injector).unwrap_or_default().to_owned(),
                answer: last.map_or("nobody-asked", |attempt| attempt.answer.as_str()),
            }
        };
        Self(reports.iter().map(entry).collect())
    }

    /// A line for each secret.
    pub(crate) fn log(&self, subject: &Subject<'_>) {
        let Subject { uid, namespace, pod, service_account, dry_run, verdict } = *subject;
        for Entry { group, version, key, injector, digest, answer } in &self.0 {
            info!(
                target: TARGET,
                uid, namespace, pod, service_account, dry_run, group, version, key, injector, digest, answer, verdict,
                "secret"
            );
        }
    }

    /// The value of the audit event's annotation `secrets`: a JSON list; none if no secret was asked for.
    pub(crate) fn annotation(&self) -> Option<String> {
        let entries = &self.0[..self.0.len().min(MOST_IN_ANNOTATION)];
        (!entries.is_empty()).then(|| serde_json::to_string(entries).expect("strings are JSON"))
    }
}
