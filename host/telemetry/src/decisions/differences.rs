//! [`RecordedDifferences`]: what shadow rules and shadow injectors would have done differently for
//! one pod.
//!
//! Like a decision, an entry has words of this program and names, and no text of a plugin.

use std::sync::Arc;

use ampoule_core::{PolicyFinding, SecretRequest, ShadowComparison, ShadowResult};
use schemars::JsonSchema;
use serde::Serialize;

use super::{name, now_millis, ring::RingEntry, serialize_shared};
use crate::record::AdmissionRecord;

/// Differences of an entry; a usual pod has a handful.
pub(super) const MAX_DIFFERENCES: usize = 32;

/// The differences of one pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedDifferences {
    /// The time of the entry in milliseconds since 1970. Shadow injectors answer after the
    /// decision.
    pub time_millis: u64,
    /// The review's `uid`, as in the decision.
    pub uid: String,
    /// The namespace of the pod.
    pub namespace: String,
    /// The pod's name, or its `generateName`. May be empty.
    pub name: String,
    /// Whether the API server stored nothing.
    pub dry_run: bool,
    /// The differences.
    pub differences: Vec<RecordedDifference>,
    /// The number of differences that are left out, because the pod has too many.
    pub omitted: usize,
}

/// What a candidate would have done differently for one requested secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedDifference {
    /// The kind of the candidate: `rule` or `injector`.
    pub candidate: String,
    /// The name of the shadow rule or the shadow injector.
    pub name: String,
    /// The place of the request: an annotation, or a variable of a container.
    pub place: String,
    /// The group of the secret.
    pub group: String,
    /// The version of the group. May be empty.
    pub version: String,
    /// The key of the secret.
    pub key: String,
    /// `different`; `failed` if the candidate did not answer or could not be evaluated; `denied` if
    /// a policy rule denies the call of the shadow injector.
    pub result: String,
    /// What was done: the outcome of the pod for a rule, the kind of the last answer for an
    /// injector.
    pub served: String,
    /// What the candidate would have done: the action of the rule, or the kind of the injector's
    /// answer.
    pub answer: String,
    /// The injector for which the rule was evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub injector: Option<String>,
    /// The edits that differ. Empty if the answers have different kinds, or if the order of the
    /// edits differs.
    pub edits: Vec<RecordedEdits>,
}

/// Edits of one kind that differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedEdits {
    /// The kind of the edits, such as `variable`.
    pub edit: String,
    /// `missing` from the candidate's answer, `additional` in it, or `changed`: the same name with
    /// another content.
    pub change: String,
    /// The number of edits.
    pub count: usize,
}

/// An entry with its number, by which a reader asks for later ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NumberedDifferences {
    /// The number of the entry. It grows with each entry, and starts at 1 with the process.
    pub number: u64,
    /// The entry.
    #[serde(flatten, serialize_with = "serialize_shared")]
    pub differences: Arc<RecordedDifferences>,
}

// === impl RecordedDifferences ===

impl RecordedDifferences {
    /// The entry of a pod, without differences.
    #[must_use]
    pub fn of_pod(uid: &str, namespace: &str, pod: &str, dry_run: bool) -> Self {
        Self {
            time_millis: now_millis(),
            uid: name(uid),
            namespace: name(namespace),
            name: name(pod),
            dry_run,
            differences: Vec::new(),
            omitted: 0,
        }
    }

    /// The matches of shadow rules; `None` without any.
    pub(super) fn of_rules(record: &AdmissionRecord<'_>) -> Option<Self> {
        let all = record.requests.iter().flat_map(|report| report.findings.iter().map(move |one| (report, one)));
        let mut shadows = all.filter(|(_, finding)| finding.shadow).peekable();
        shadows.peek()?;
        let mut entry = Self::of_pod(record.uid, record.namespace, record.name, record.dry_run);
        for (report, finding) in shadows {
            entry.push(|| RecordedDifference::of_rule(&report.request, &report.annotation, finding, record));
        }
        Some(entry)
    }

    /// Adds the comparison of a shadow injector, unless its answer is the same or it was skipped.
    pub fn compared(&mut self, comparison: &ShadowComparison) {
        match comparison.result {
            ShadowResult::Same | ShadowResult::Skipped => {}
            ShadowResult::Different | ShadowResult::Failed | ShadowResult::Denied => {
                self.push(|| RecordedDifference::of_injector(comparison));
            }
        }
    }

    fn push(&mut self, difference: impl FnOnce() -> RecordedDifference) {
        if self.differences.len() < MAX_DIFFERENCES {
            self.differences.push(difference());
        } else {
            self.omitted += 1;
        }
    }
}

impl RingEntry for RecordedDifferences {
    fn bytes(&self) -> usize {
        let texts = [&self.uid, &self.namespace, &self.name].into_iter().map(String::capacity).sum::<usize>();
        size_of::<Self>() + texts + self.differences.iter().map(RecordedDifference::bytes).sum::<usize>()
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }
}

// === impl RecordedDifference ===

impl RecordedDifference {
    fn of_rule(request: &SecretRequest, place: &str, finding: &PolicyFinding, record: &AdmissionRecord<'_>) -> Self {
        let result = if finding.error.is_some() { ShadowResult::Failed } else { ShadowResult::Different };
        Self {
            candidate: "rule".to_owned(),
            name: finding.rule.to_string(),
            result: result.as_str().to_owned(),
            served: record.outcome.as_str().to_owned(),
            answer: finding.action.as_str().to_owned(),
            injector: finding.injector.clone(),
            ..Self::of_request(request, place)
        }
    }

    fn of_injector(comparison: &ShadowComparison) -> Self {
        let edits = comparison.edits.iter().map(|difference| RecordedEdits {
            edit: difference.edit.to_owned(),
            change: difference.change.as_str().to_owned(),
            count: difference.count,
        });
        Self {
            candidate: "injector".to_owned(),
            name: comparison.injector.clone(),
            result: comparison.result.as_str().to_owned(),
            served: comparison.served.to_owned(),
            answer: comparison.answer.to_owned(),
            edits: edits.collect(),
            ..Self::of_request(&comparison.requested.request, &comparison.requested.annotation)
        }
    }

    fn of_request(request: &SecretRequest, place: &str) -> Self {
        Self {
            candidate: String::new(),
            name: String::new(),
            place: name(place),
            group: name(&request.group),
            version: name(&request.group_version),
            key: name(&request.key),
            result: String::new(),
            served: String::new(),
            answer: String::new(),
            injector: None,
            edits: Vec::new(),
        }
    }

    fn bytes(&self) -> usize {
        let texts = [
            &self.candidate,
            &self.name,
            &self.place,
            &self.group,
            &self.version,
            &self.key,
            &self.result,
            &self.served,
            &self.answer,
        ];
        let injector = self.injector.as_ref().map_or(0, String::capacity);
        let edits = self.edits.iter().map(|edits| size_of_val(edits) + edits.edit.capacity() + edits.change.capacity());
        size_of::<Self>() + texts.into_iter().map(String::capacity).sum::<usize>() + injector + edits.sum::<usize>()
    }
}
