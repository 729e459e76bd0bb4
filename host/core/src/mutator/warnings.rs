//! What a pod's author ought to know although the pod is admitted: `kubectl` shows each as a warning.
//!
//! What is ignored is said, and what was asked for to no effect; never a value.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use crate::{EnvPlacement, Pod, RequestReport, TRIGGER_LABELS, excerpt, flyte, people};

/// The API server drops all of a webhook's warnings where they are longer than 4096 characters together, and each may have 256.
const MOST: usize = 15;

/// Annotations whose keys start like this are this webhook's.
const OURS: &str = "ampoule.dev/";
/// Flyte's.
const FLYTES: &str = "flyte.secrets/";

/// By the name of an injected variable, the containers that had one of that name, with another value.
pub(crate) type OwnVariables = BTreeMap<String, Vec<String>>;

/// What is to be said of a pod that asked for nothing.
pub(super) fn unasked(pod: &Pod) -> Vec<String> {
    let mut warnings = unknown_annotations(pod.annotations());
    warnings.extend(nothing_asked(pod));
    shortened(warnings)
}

/// What is to be said of a pod that asked for this much.
pub(super) fn of(pod: &Pod, asked: &[RequestReport], own: &OwnVariables, placement: EnvPlacement) -> Vec<String> {
    let mut warnings = unknown_annotations(pod.annotations());
    warnings.extend(asked_twice(asked));
    warnings.extend(own_variables(own, placement));
    shortened(warnings)
}

/// Keys that look like ours and that nobody reads: a mistyped one must not go unnoticed.
fn unknown_annotations(annotations: &Map<String, Value>) -> Vec<String> {
    let warning = |key: &String| {
        let known = if key.starts_with(OURS) && key != people::ANNOTATION {
            format!("{} is the annotation for secrets", people::ANNOTATION)
        } else if key.starts_with(FLYTES) && !key.starts_with(flyte::PREFIX) {
            format!("Flyte's begin with {}", flyte::PREFIX)
        } else {
            return None;
        };
        Some(format!("annotation {} is ignored: {known}", excerpt::name(key)))
    };
    annotations.keys().filter_map(warning).collect()
}

/// A pod that a label brought here and that asks for nothing.
fn nothing_asked(pod: &Pod) -> Option<String> {
    let labels = &pod.as_json()["metadata"]["labels"];
    let label = TRIGGER_LABELS.iter().find(|label| labels[**label] == "true")?;
    Some(format!(
        "label {label} has no effect: no annotation asks for a secret ({} is a list of them)",
        people::ANNOTATION
    ))
}

fn asked_twice(asked: &[RequestReport]) -> Vec<String> {
    let (mut firsts, mut warnings) = (HashMap::with_capacity(asked.len()), Vec::new());
    for RequestReport { annotation, request, .. } in asked {
        let first = *firsts.entry(request).or_insert(annotation);
        if first != annotation {
            let (again, earlier) = (excerpt::name(annotation), excerpt::name(first));
            warnings.push(format!("annotation {again} is not needed: it asks for secret {request} as {earlier} does"));
        }
    }
    warnings
}

fn own_variables(own: &OwnVariables, placement: EnvPlacement) -> impl Iterator<Item = String> {
    let end = match placement {
        EnvPlacement::AppendIfAbsent => "stays as it is, without the secret",
        EnvPlacement::ReplaceAndPrepend => "gives way to the secret",
    };
    own.iter().map(move |(name, containers)| {
        let (name, first) = (excerpt::name(name), excerpt::name(&containers[0]));
        let others = match containers.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        format!("environment variable {name} of container {first}{others} {end}")
    })
}

fn shortened(mut warnings: Vec<String>) -> Vec<String> {
    if warnings.len() > MOST {
        let left = warnings.len() - (MOST - 1);
        warnings.truncate(MOST - 1);
        warnings.push(format!("and {left} more warnings"));
    }
    warnings
}
