//! The audit trail: which secret was given to which pod, by which injector.
//!
//! It has two forms: log lines with the target [`AUDIT_TARGET`], and an annotation of the API
//! server's audit event. Both name the pod, the secret's group and key, and the last injector
//! called with its answer; never a value. The log's level does not apply to the lines; only
//! `audit.log` switches them off.

use ampoule_core::{AdmissionOutcome, InjectorAnswer, RequestReport};
use ampoule_telemetry::{log::AUDIT_TARGET, record::AdmissionRecord};
use serde::Serialize;
use tracing::info;

use crate::excerpt::cut;

/// The API server may drop or cut a large audit event, and a pod has a handful of secrets. The log
/// has all of them, and the annotation states how many it omits.
const MAX_ANNOTATION_ENTRIES: usize = 32;

/// Rules that an entry names. The deciding rule is the first.
const MAX_ENTRY_RULES: usize = 4;
/// Failed injectors that an entry names.
const MAX_ENTRY_FAILURES: usize = 4;

/// One secret. Pod authors may write names of any length, so names are cut.
#[derive(Serialize)]
struct AuditEntry<'a> {
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    key: &'a str,
    /// The name under which the injector found the secret; empty if it does not tell. It differs
    /// from the request if one secret has several spellings.
    #[serde(skip_serializing_if = "str::is_empty")]
    found: &'a str,
    /// The last injector called; empty if none was.
    injector: &'a str,
    /// The SHA-256 of the injector's component; empty for injectors that are part of the program.
    #[serde(skip_serializing_if = "str::is_empty")]
    digest: &'a str,
    /// That injector's answer: `referenced` if the pod refers to a Secret that may not exist.
    answer: &'static str,
    /// The injectors before it that failed, as `NAME: ANSWER`, separated by commas; empty if none
    /// did.
    #[serde(skip_serializing_if = "String::is_empty")]
    passed_over: String,
    /// The policy rules that matched or failed, separated by commas; empty if no rule did.
    #[serde(skip_serializing_if = "String::is_empty")]
    rules: String,
    /// The outcome for the pod: a pod that is refused, or admitted without its secrets, did not get
    /// this one.
    verdict: &'static str,
}

/// The last element of an annotation that does not list all secrets.
#[derive(Serialize)]
struct Omitted {
    omitted: usize,
}

/// Writes one log line per secret.
pub(crate) fn log(record: &AdmissionRecord<'_>) {
    for report in record.requests {
        let entry = AuditEntry::new(report, record.outcome);
        info!(
            target: AUDIT_TARGET,
            uid = record.uid,
            namespace = record.namespace,
            pod = record.name,
            service_account = record.service_account,
            dry_run = record.dry_run,
            group = entry.group,
            version = entry.version,
            key = entry.key,
            found = entry.found,
            injector = entry.injector,
            digest = entry.digest,
            answer = entry.answer,
            passed_over = entry.passed_over,
            rules = entry.rules,
            verdict = entry.verdict,
            "secret"
        );
    }
}

/// The value of the audit event's annotation `secrets`: a JSON list, or `None` if no secret was
/// requested. Secrets whose value is in the answer come first. If there are too many, the last
/// element is `{"omitted": N}`.
pub(crate) fn annotation(requests: &[RequestReport], outcome: AdmissionOutcome) -> Option<String> {
    if requests.is_empty() {
        return None;
    }
    let (values, others): (Vec<_>, Vec<_>) = requests.iter().partition(|report| delivers_value(report));
    let first = values.into_iter().chain(others).take(MAX_ANNOTATION_ENTRIES);
    let mut entries: Vec<_> = first.map(|report| json_text(&AuditEntry::new(report, outcome))).collect();
    let omitted = requests.len().saturating_sub(MAX_ANNOTATION_ENTRIES);
    entries.extend((omitted > 0).then(|| json_text(&Omitted { omitted })));
    Some(format!("[{}]", entries.join(",")))
}

/// Whether the answer contains the value of a secret, and not only a reference to it.
fn delivers_value(report: &RequestReport) -> bool {
    let last = report.attempts.last();
    last.is_some_and(|attempt| matches!(attempt.answer, InjectorAnswer::Injected { values: 1.., .. }))
}

fn json_text(entry: &impl Serialize) -> String {
    serde_json::to_string(entry).expect("strings and numbers always serialize")
}

// === impl AuditEntry ===

impl<'a> AuditEntry<'a> {
    fn new(report: &'a RequestReport, outcome: AdmissionOutcome) -> Self {
        let last = report.attempts.last();
        Self {
            group: cut(&report.request.group),
            version: cut(&report.request.group_version),
            key: cut(&report.request.key),
            found: last.and_then(|attempt| attempt.found_name.as_deref()).map_or("", cut),
            injector: last.map_or("", |attempt| attempt.injector.as_str()),
            digest: last.and_then(|attempt| attempt.digest.as_deref()).unwrap_or_default(),
            answer: last.map_or("nobody-asked", |attempt| attempt.answer.as_str()),
            passed_over: passed_over(report),
            rules: rule_names(report),
            verdict: outcome.as_str(),
        }
    }
}

/// The injectors that failed before the last one was called.
fn passed_over(report: &RequestReport) -> String {
    let failed = report.passed_over().take(MAX_ENTRY_FAILURES);
    let named: Vec<_> = failed.map(|attempt| format!("{}: {}", attempt.injector, attempt.answer.as_str())).collect();
    named.join(", ")
}

/// The names of the rules that matched, the one that denied first.
fn rule_names(report: &RequestReport) -> String {
    let (denying, others): (Vec<_>, Vec<_>) = report.findings.iter().partition(|finding| finding.denies());
    let mut names: Vec<&str> = Vec::new();
    for finding in denying.into_iter().chain(others) {
        if names.len() < MAX_ENTRY_RULES && !names.contains(&&*finding.rule) {
            names.push(&finding.rule);
        }
    }
    names.join(",")
}

#[cfg(test)]
mod tests {
    use ampoule_core::{Attempt, InjectionError, RequestOptions, SecretRequest};
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_annotation_stays_short_whatever_a_pod_requests() {
        let request = SecretRequest { group: "g".repeat(100_000), key: "k".to_owned(), ..SecretRequest::default() };
        let report = RequestReport {
            options: RequestOptions::default(),
            annotation: "flyte.secrets/s0".to_owned(),
            request,
            attempts: Vec::new(),
            findings: Vec::new(),
        };
        let reports = vec![report; MAX_ANNOTATION_ENTRIES + 3];
        let annotation = annotation(&reports, AdmissionOutcome::Refused).unwrap();
        let entries: Vec<Value> = serde_json::from_str(&annotation).unwrap();
        assert_eq!(entries.len(), MAX_ANNOTATION_ENTRIES + 1);
        assert_eq!(entries[MAX_ANNOTATION_ENTRIES], serde_json::json!({ "omitted": 3 }));
        assert!(annotation.len() < 32 << 10, "{}", annotation.len());
    }

    #[test]
    fn secrets_whose_value_is_in_the_answer_are_never_omitted_for_references() {
        let report = |key: &str, values: usize| RequestReport {
            options: RequestOptions::default(),
            annotation: "flyte.secrets/s0".to_owned(),
            request: SecretRequest { key: key.to_owned(), ..SecretRequest::default() },
            attempts: vec![Attempt {
                injector: "global".to_owned(),
                digest: None,
                answer: InjectorAnswer::Injected { edits: 2, values, references: 0 },
                found_name: Some("variable FLYTE_SECRET_DB_PASS".to_owned()),
                warnings: Vec::new(),
            }],
            findings: Vec::new(),
        };
        let mut reports = vec![report("reference", 0); MAX_ANNOTATION_ENTRIES];
        reports.push(report("pAsS", 1));
        let annotation = annotation(&reports, AdmissionOutcome::Mutated).unwrap();
        let entries: Vec<Value> = serde_json::from_str(&annotation).unwrap();
        assert_eq!(entries[0]["key"], "pAsS");
        assert_eq!(entries[0]["found"], "variable FLYTE_SECRET_DB_PASS");
        assert_eq!(entries[1]["key"], "reference");
        assert_eq!(entries[MAX_ANNOTATION_ENTRIES]["omitted"], 1);
    }

    #[test]
    fn an_entry_names_the_injectors_that_failed_and_a_mere_reference() {
        let attempt = |injector: &str, answer| Attempt {
            injector: injector.to_owned(),
            digest: None,
            answer,
            found_name: None,
            warnings: Vec::new(),
        };
        let declined = InjectorAnswer::Declined;
        let unavailable = InjectionError::Unavailable("plugin acme is not loaded".to_owned().into());
        let report = RequestReport {
            options: RequestOptions::default(),
            annotation: "ampoule.dev/secrets[0]".to_owned(),
            request: SecretRequest { group: "db".to_owned(), key: "password".to_owned(), ..SecretRequest::default() },
            attempts: vec![
                attempt("acme", declined(unavailable)),
                attempt("vault", declined(InjectionError::NotFound("none".to_owned()))),
                attempt("k8s", InjectorAnswer::Injected { edits: 1, values: 0, references: 1 }),
            ],
            findings: Vec::new(),
        };
        let annotation = annotation(&[report], AdmissionOutcome::Mutated).unwrap();
        let entries: Value = serde_json::from_str(&annotation).unwrap();
        let expected = serde_json::json!([{
            "group": "db", "key": "password", "injector": "k8s", "answer": "referenced",
            "passed_over": "acme: unavailable", "verdict": "mutated",
        }]);
        assert_eq!(entries, expected);
    }

    #[test]
    fn a_pod_without_requests_has_no_annotation() {
        assert_eq!(annotation(&[], AdmissionOutcome::Unchanged), None);
    }
}
