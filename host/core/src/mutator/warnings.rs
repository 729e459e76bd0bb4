//! Warnings for the author of an admitted pod, which `kubectl` prints.
//!
//! They report annotations that are ignored and requests without effect. They contain no values.

mod near_misses;
mod unexpanded;

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::RequestReport;
use crate::{
    ampoule_annotation,
    annotations::TRIGGER_LABELS,
    delivery::{
        REFRESH_ANNOTATION, REPLACED_UNTIL_ANNOTATION, RESTARTED_FOR_ANNOTATION, ROLLOUT_ANNOTATION,
        VERSIONS_ANNOTATION,
    },
    edit::{
        FETCH_CONTAINER, FETCH_VARIABLE,
        apply::{EditApplier, VariableCollisions},
    },
    flyte,
    pod::{Pod, list},
    profile::EnvPlacement,
    reference_syntax::ReferenceSyntax,
    request::{REFERENCES_ANNOTATION, shown_place},
    text::escape_name,
};

/// Maximum number of warnings. The API server drops all warnings of a webhook that exceed 4096
/// characters together, and each may have 256.
const MAX_WARNINGS: usize = 15;

/// The prefix of Ampoule's annotations.
const AMPOULE_PREFIX: &str = "ampoule.dev/";

/// Ampoule's annotations.
const KNOWN: [&str; 7] = [
    ampoule_annotation::KEY,
    REFRESH_ANNOTATION,
    VERSIONS_ANNOTATION,
    REFERENCES_ANNOTATION,
    ROLLOUT_ANNOTATION,
    RESTARTED_FOR_ANNOTATION,
    REPLACED_UNTIL_ANNOTATION,
];

/// The prefix of Flyte's annotations.
const FLYTE_PREFIX: &str = "flyte.secrets/";

/// Returns the warnings for a pod without secret requests.
pub(super) fn without_requests(pod: &Pod, searched: Option<&ReferenceSyntax>) -> Vec<String> {
    if pod.is_mirror() {
        return mirror_with_requests(pod).into_iter().collect();
    }
    let mut warnings = near_misses(pod, searched);
    warnings.extend(unknown_annotations(pod.annotations()));
    warnings.extend(label_without_effect(pod));
    limited(warnings)
}

/// Returns the warnings for a pod whose requests were served. `others` are those that were found
/// elsewhere.
pub(super) fn with_requests(
    pod: &Pod,
    reports: &[RequestReport],
    applied: &EditApplier<'_>,
    placement: EnvPlacement,
    others: Vec<String>,
) -> Vec<String> {
    let mut warnings = policy_warnings(reports);
    warnings.extend(injector_warnings(reports));
    warnings.extend(unknown_annotations(pod.annotations()));
    warnings.extend(redundant_requests(reports));
    warnings.extend(variable_collisions(&applied.variable_collisions, reports, placement));
    if placement == EnvPlacement::AppendIfAbsent {
        warnings.extend(unexpanded::references(pod, applied));
    }
    // All keys of a group can be variables of any name.
    let is_for_some = |report: &RequestReport| report.options.containers.names().is_some();
    if reports.iter().any(is_for_some) && !reports.iter().any(|report| report.request.all_keys) {
        warnings.extend(unexpanded::references_elsewhere(pod, applied));
    }
    warnings.extend(absent_secrets(reports));
    warnings.extend(others);
    warnings.extend(container_before_secrets(pod));
    limited(warnings)
}

/// Warns about values that were probably meant as references; none without a syntax.
pub(super) fn near_misses(pod: &Pod, searched: Option<&ReferenceSyntax>) -> Vec<String> {
    searched.map(|syntax| near_misses::near_misses(pod, syntax)).unwrap_or_default()
}

/// Warns about a static pod that requests secrets: the kubelet runs it from its file, without what
/// the webhook would add to the copy.
fn mirror_with_requests(pod: &Pod) -> Option<String> {
    let is_request = |key: &&String| *key == ampoule_annotation::KEY || key.starts_with(flyte::KEY_PREFIX);
    let key = pod.annotations().keys().find(is_request)?;
    Some(format!(
        "annotation {} is ignored: this is the mirror of a static pod, which the kubelet runs from a file and which \
         cannot refer to Secrets; use a DaemonSet",
        escape_name(key)
    ))
}

/// The warnings of policy rules, each once per secret.
fn policy_warnings(reports: &[RequestReport]) -> Vec<String> {
    let mut warnings = Vec::new();
    for report in reports {
        for finding in report.findings.iter().filter(|finding| finding.warns()) {
            let warning = format!("{finding} (secret {})", report.request);
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    warnings
}

/// The warnings of injectors, each with its author.
fn injector_warnings(reports: &[RequestReport]) -> impl Iterator<Item = String> {
    reports.iter().flat_map(|report| {
        let attempts = report.attempts.iter();
        attempts.flat_map(move |attempt| {
            let warnings = attempt.warnings.iter();
            warnings.map(move |text| format!("injector {} (secret {}): {text}", attempt.injector, report.request))
        })
    })
}

/// Warns about optional secrets that no injector has.
fn absent_secrets(reports: &[RequestReport]) -> impl Iterator<Item = String> {
    reports.iter().filter(|report| report.is_absent()).map(|report| {
        let place = shown_place(&report.annotation);
        format!("secret {} ({place}) does not exist; the pod starts without it", report.request)
    })
}

/// Warns about keys with the prefix of a protocol that are not part of it, such as a misspelt key.
fn unknown_annotations(annotations: &Map<String, Value>) -> Vec<String> {
    annotations.keys().filter_map(|key| unknown_annotation(key)).collect()
}

fn unknown_annotation(key: &str) -> Option<String> {
    let hint = if TRIGGER_LABELS.contains(&key) {
        "it is a label".to_owned()
    } else if key.starts_with(AMPOULE_PREFIX) && !KNOWN.contains(&key) {
        format!("list secrets in annotation {}", ampoule_annotation::KEY)
    } else if key.starts_with(FLYTE_PREFIX) && !key.starts_with(flyte::KEY_PREFIX) {
        format!("keys of Flyte's secrets begin with {}", flyte::KEY_PREFIX)
    } else {
        return None;
    };
    Some(format!("annotation {} is ignored: {hint}", escape_name(key)))
}

/// Warns about an init container that another webhook put in front of the one that fetches: the
/// API server asks again after such a change.
fn container_before_secrets(pod: &Pod) -> Option<String> {
    let containers = list(&pod.as_json()["spec"], "initContainers");
    let fetches = |container: &Value| {
        let has_document = list(container, "env").iter().any(|variable| variable["name"] == FETCH_VARIABLE);
        container["name"] == FETCH_CONTAINER && has_document
    };
    let position = containers.iter().position(fetches)?;
    let first = containers.first().filter(|_| position > 0)?;
    Some(format!(
        "init container {} runs before {FETCH_CONTAINER}, so it has no secrets: another webhook put it first",
        escape_name(first["name"].as_str().unwrap_or_default())
    ))
}

/// Warns about a trigger label on a pod without secret requests.
fn label_without_effect(pod: &Pod) -> Option<String> {
    let labels = &pod.as_json()["metadata"]["labels"];
    let label = TRIGGER_LABELS.iter().find(|label| labels[**label] == "true")?;
    // Each pod without requests that Flyte labels gets this warning: no formatting.
    let advice = " has no effect: no annotation or variable requests a secret; list secrets in annotation ";
    Some(["label ", label, advice, ampoule_annotation::KEY].concat())
}

/// Warns about requests that repeat an earlier one.
fn redundant_requests(reports: &[RequestReport]) -> Vec<String> {
    let mut first_annotations = HashMap::with_capacity(reports.len());
    let mut warnings = Vec::new();
    for report in reports {
        let first = *first_annotations.entry((&report.request, &report.options)).or_insert(&report.annotation);
        if first != &report.annotation {
            warnings.push(format!(
                "annotation {} is redundant: {} already requests secret {}",
                escape_name(&report.annotation),
                escape_name(first),
                report.request
            ));
        }
    }
    warnings
}

/// Warns about variables of the pod that have the name of an injected variable.
fn variable_collisions(
    collisions: &VariableCollisions,
    reports: &[RequestReport],
    placement: EnvPlacement,
) -> Vec<String> {
    if collisions.is_empty() {
        return Vec::new();
    }
    let effect = match placement {
        EnvPlacement::AppendIfAbsent | EnvPlacement::PrependIfAbsent => "keeps its value; the secret is not injected",
        EnvPlacement::ReplaceAndPrepend => "is replaced by the secret",
    };
    let replaced = replaced_references(reports);
    let mut warnings = Vec::new();
    for (name, containers) in collisions {
        let is_reference = |container: &&String| replaced.contains(&(name.as_str(), container.as_str()));
        let (references, own): (Vec<_>, Vec<_>) = containers.iter().partition(is_reference);
        for (containers, effect) in [
            (own, effect),
            (references, "is a reference, and an annotation requests the same secret for it; remove one of them"),
        ] {
            warnings.extend(collision(name, &containers, effect));
        }
    }
    warnings
}

/// The variables that are references, each with its container. A reference and an annotation that
/// name one variable have the same value: other pods are refused.
fn replaced_references(reports: &[RequestReport]) -> BTreeSet<(&str, &str)> {
    let references = reports.iter().filter(|report| report.options.replaces.is_some());
    let in_containers = references.filter_map(|report| {
        let containers = report.options.containers.names()?.iter();
        Some(containers.zip(std::iter::repeat(report.request.env_var.as_deref()?)))
    });
    in_containers.flatten().map(|(container, variable)| (variable, container.as_str())).collect()
}

fn collision(name: &str, containers: &[&String], effect: &str) -> Option<String> {
    let (first, others) = containers.split_first()?;
    let (name, first) = (escape_name(name), escape_name(first));
    let others = match others.len() {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    Some(format!("environment variable {name} of container {first}{others} {effect}"))
}

fn limited(mut warnings: Vec<String>) -> Vec<String> {
    if warnings.len() > MAX_WARNINGS {
        let excess = warnings.len() - (MAX_WARNINGS - 1);
        warnings.truncate(MAX_WARNINGS - 1);
        warnings.push(format!("and {excess} more warnings"));
    }
    warnings
}
