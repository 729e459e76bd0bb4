//! [`DecisionLog`]: the last admissions in memory, for the console.
//!
//! An entry has words of this program, names of the configuration, and names that the pod's author
//! wrote. It has no text of a plugin and nothing of the pod's spec, so that no value can be in it.

mod differences;
mod ring;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use ampoule_core::{Attempt, InjectorAnswer, PolicyFinding, RequestReport, text::prefix};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

pub use self::differences::{NumberedDifferences, RecordedDifference, RecordedDifferences, RecordedEdits};
use self::ring::{Ring, RingEntry};
use crate::record::AdmissionRecord;

/// Bytes of all decisions together: about 10,000 pods with one secret each.
const MAX_BYTES: usize = 8 << 20;
/// Bytes of all differences together: about 2,000 pods with one difference each.
const MAX_DIFFERENCE_BYTES: usize = 1 << 20;
/// Bytes of a name. A pod's author may write longer ones.
const MAX_NAME: usize = 253;
/// Requests of an entry; a usual pod has a handful.
const MAX_REQUESTS: usize = 32;
/// Calls and rules of a request.
const MAX_PARTS: usize = 16;

/// The last admissions, and what shadow rules and injectors would have done. Cheap to clone.
#[derive(Clone)]
pub struct DecisionLog(Arc<DecisionRings>);

struct DecisionRings {
    decisions: Ring<RecordedDecision>,
    differences: Ring<RecordedDifferences>,
}

/// Which entries a reader wants.
#[derive(Clone, Copy, Debug, Default)]
pub struct DecisionFilter<'a> {
    /// The namespace; `None` for all.
    pub namespace: Option<&'a str>,
    /// Only entries with a greater number.
    pub after: u64,
    /// The maximum number of entries; the newest ones are kept.
    pub limit: usize,
}

/// One admission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedDecision {
    /// The time of the decision in milliseconds since 1970.
    pub time_millis: u64,
    /// The review's `uid`.
    pub uid: String,
    /// The namespace of the pod.
    pub namespace: String,
    /// The pod's name, or its `generateName`. May be empty.
    pub name: String,
    /// The pod's service account. May be empty.
    pub service_account: String,
    /// Whether the API server stored nothing.
    pub dry_run: bool,
    /// The result, as in the metric `ampoule_admissions_total`.
    pub outcome: String,
    /// The HTTP status code that the pod's creator got.
    pub code: u16,
    /// The time from the first byte of the request to the decision, in microseconds.
    pub micros: u64,
    /// The requested secrets, up to the first that failed.
    pub requests: Vec<RecordedRequest>,
    /// The number of requests that are left out, because the pod has too many.
    pub omitted: usize,
}

/// One requested secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedRequest {
    /// The place of the request: an annotation, or a variable of a container.
    pub place: String,
    /// The group of the secret.
    pub group: String,
    /// The version of the group. May be empty.
    pub version: String,
    /// The key of the secret.
    pub key: String,
    /// The calls of injectors, in order.
    pub attempts: Vec<RecordedAttempt>,
    /// The policy rules that matched or failed.
    pub rules: Vec<RecordedRule>,
}

/// The call of one injector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedAttempt {
    /// The name of the injector.
    pub injector: String,
    /// The SHA-256 of its component; absent for injectors that are part of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The kind of the answer, as in the audit trail.
    pub answer: String,
    /// The number of edits that the answer had, if it was applied.
    pub edits: usize,
    /// How many of them contained a fetched value.
    pub values: usize,
    /// How many of them referred to a Kubernetes Secret.
    pub references: usize,
}

/// A policy rule that matched or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedRule {
    /// The name of the rule.
    pub rule: String,
    /// The effect of the rule.
    pub action: String,
    /// Whether the effect was not applied.
    pub shadow: bool,
    /// Whether the rule refused the pod.
    pub decides: bool,
    /// Whether the rule could not be evaluated.
    pub failed: bool,
    /// The injector for which the rule was evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub injector: Option<String>,
}

/// An entry with its number, by which a reader asks for later ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NumberedDecision {
    /// The number of the entry. It grows with each admission, and starts at 1 with the process.
    pub number: u64,
    /// The entry.
    #[serde(flatten, serialize_with = "serialize_shared")]
    pub decision: Arc<RecordedDecision>,
}

// === impl DecisionLog ===

impl Default for DecisionLog {
    fn default() -> Self {
        Self::with_bytes(MAX_BYTES, MAX_DIFFERENCE_BYTES)
    }
}

impl DecisionLog {
    /// A log that holds this many bytes of decisions, and of differences.
    #[must_use]
    pub fn with_bytes(decisions: usize, differences: usize) -> Self {
        Self(Arc::new(DecisionRings { decisions: Ring::new(decisions), differences: Ring::new(differences) }))
    }

    /// Adds an admission, and what its shadow rules would have done.
    pub fn record(&self, record: &AdmissionRecord<'_>) {
        self.0.decisions.add(RecordedDecision::new(record));
        if let Some(differences) = RecordedDifferences::of_rules(record) {
            self.0.differences.add(differences);
        }
    }

    /// Adds what the shadow injectors would have done for a pod, unless it is the same.
    pub fn compared(&self, differences: RecordedDifferences) {
        if !differences.differences.is_empty() {
            self.0.differences.add(differences);
        }
    }

    /// Returns the newest decisions that the filter selects, the oldest of them first.
    #[must_use]
    pub fn select(&self, filter: &DecisionFilter<'_>) -> Vec<NumberedDecision> {
        let found = self.0.decisions.select(filter).into_iter();
        found.map(|(number, decision)| NumberedDecision { number, decision }).collect()
    }

    /// Returns the newest differences that the filter selects, the oldest of them first.
    #[must_use]
    pub fn differences(&self, filter: &DecisionFilter<'_>) -> Vec<NumberedDifferences> {
        let found = self.0.differences.select(filter).into_iter();
        found.map(|(number, differences)| NumberedDifferences { number, differences }).collect()
    }
}

// === impl RecordedDecision ===

impl RecordedDecision {
    fn new(record: &AdmissionRecord<'_>) -> Self {
        Self {
            time_millis: now_millis(),
            uid: name(record.uid),
            namespace: name(record.namespace),
            name: name(record.name),
            service_account: name(record.service_account),
            dry_run: record.dry_run,
            outcome: record.outcome.as_str().to_owned(),
            code: record.code,
            micros: u64::try_from(record.elapsed.as_micros()).unwrap_or(u64::MAX),
            requests: record.requests.iter().take(MAX_REQUESTS).map(RecordedRequest::new).collect(),
            omitted: record.requests.len().saturating_sub(MAX_REQUESTS),
        }
    }
}

impl RingEntry for RecordedDecision {
    fn bytes(&self) -> usize {
        let texts = [&self.uid, &self.namespace, &self.name, &self.service_account, &self.outcome];
        let requests: usize = self.requests.iter().map(RecordedRequest::bytes).sum();
        size_of::<Self>() + texts.iter().map(|text| text.capacity()).sum::<usize>() + requests
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }
}

// === impl RecordedRequest ===

impl RecordedRequest {
    /// The request of a report, without the texts of its answers.
    #[must_use]
    pub fn new(report: &RequestReport) -> Self {
        Self {
            place: name(&report.annotation),
            group: name(&report.request.group),
            version: name(&report.request.group_version),
            key: name(&report.request.key),
            attempts: report.attempts.iter().take(MAX_PARTS).map(RecordedAttempt::new).collect(),
            rules: report.findings.iter().take(MAX_PARTS).map(RecordedRule::new).collect(),
        }
    }

    fn bytes(&self) -> usize {
        let texts = [&self.place, &self.group, &self.version, &self.key];
        let attempts: usize = self.attempts.iter().map(RecordedAttempt::bytes).sum();
        let rules: usize = self.rules.iter().map(RecordedRule::bytes).sum();
        size_of::<Self>() + texts.iter().map(|text| text.capacity()).sum::<usize>() + attempts + rules
    }
}

// === impl RecordedAttempt ===

impl RecordedAttempt {
    fn new(attempt: &Attempt) -> Self {
        let (edits, values, references) = match attempt.answer {
            InjectorAnswer::Injected { edits, values, references } => (edits, values, references),
            _ => (0, 0, 0),
        };
        Self {
            injector: attempt.injector.clone(),
            digest: attempt.digest.clone(),
            answer: attempt.answer.as_str().to_owned(),
            edits,
            values,
            references,
        }
    }

    fn bytes(&self) -> usize {
        let digest = self.digest.as_ref().map_or(0, String::capacity);
        size_of::<Self>() + self.injector.capacity() + digest + self.answer.capacity()
    }
}

// === impl RecordedRule ===

impl RecordedRule {
    fn new(finding: &PolicyFinding) -> Self {
        Self {
            rule: finding.rule.to_string(),
            action: finding.action.as_str().to_owned(),
            shadow: finding.shadow,
            decides: finding.denies(),
            failed: finding.error.is_some(),
            injector: finding.injector.clone(),
        }
    }

    fn bytes(&self) -> usize {
        let injector = self.injector.as_ref().map_or(0, String::capacity);
        size_of::<Self>() + self.rule.capacity() + self.action.capacity() + injector
    }
}

fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn serialize_shared<T: Serialize, S: Serializer>(entry: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error> {
    entry.serialize(serializer)
}

fn name(text: &str) -> String {
    prefix(text, MAX_NAME).to_owned()
}
