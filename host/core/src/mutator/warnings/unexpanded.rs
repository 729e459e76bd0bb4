//! Warns about `$(NAME)` that the kubelet leaves as it is: in a variable of the pod, if the secret
//! `NAME` comes after it ([`references`]), and anywhere, if only other containers get it
//! ([`references_elsewhere`]).
//!
//! The kubelet expands only variables that are earlier in the list. In `command` and `args`, it
//! expands all of the container's.

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

use crate::{
    edit::apply::EditApplier,
    pod::{Pod, list},
    references::read_containers,
    text::escape_name,
};

/// Bytes of the values that are searched, over all containers.
const MAX_SCANNED: usize = 1 << 20;

/// The place of a text in a container.
enum TextPlace<'p> {
    Variable(&'p str),
    Word(&'static str, usize),
}

// === impl TextPlace ===

impl fmt::Display for TextPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "environment variable {}", escape_name(name)),
            Self::Word(key, position) => write!(f, "{key}[{position}]"),
        }
    }
}

/// Returns a warning for each variable of the received pod that refers to an injected one.
pub(super) fn references(pod: &Pod, applied: &EditApplier<'_>) -> Vec<String> {
    let spec = &pod.as_json()["spec"];
    let mut room = MAX_SCANNED;
    let mut warnings = Vec::new();
    for container in ["initContainers", "containers"].into_iter().flat_map(|key| list(spec, key)) {
        let name = container["name"].as_str().unwrap_or_default();
        let variables = list(container, "env");
        // Looked up once, because a value can have a reference every four bytes.
        let mut injected = None;
        for variable in variables {
            let Some(value) = variable.get("value").and_then(Value::as_str) else { continue };
            let Some(rest) = room.checked_sub(value.len()) else { return warnings };
            room = rest;
            let is_injected = |reference: &&str| {
                injected.get_or_insert_with(|| injected_later(applied, name, variables)).contains(reference)
            };
            let reference = references_in(value).find(is_injected);
            warnings.extend(reference.map(|reference| warning(name, variable, reference)));
        }
    }
    warnings
}

/// The variables that a container gets after its own.
fn injected_later<'a>(applied: &'a EditApplier<'_>, container: &'a str, own: &[Value]) -> BTreeSet<&'a str> {
    let mut injected: BTreeSet<_> = applied.variables_of(container).collect();
    for name in own.iter().filter_map(|variable| variable.get("name")?.as_str()) {
        injected.remove(name);
    }
    injected
}

/// Returns a warning for each text of a container that refers to a variable which only other
/// containers get. A container with variables from elsewhere may have it.
pub(super) fn references_elsewhere(pod: &Pod, applied: &EditApplier<'_>) -> Vec<String> {
    let mut room = MAX_SCANNED;
    let mut warnings = Vec::new();
    for container in read_containers(pod).filter(|container| list(container, "envFrom").is_empty()) {
        let name = container["name"].as_str().unwrap_or_default();
        // As in `references`.
        let mut elsewhere = None;
        for (place, text) in texts(container) {
            let Some(rest) = room.checked_sub(text.len()) else { return warnings };
            room = rest;
            let is_elsewhere = |reference: &&str| {
                elsewhere.get_or_insert_with(|| injected_elsewhere(applied, container)).contains(reference)
            };
            let Some(reference) = references_in(text).find(is_elsewhere) else { continue };
            warnings.push(format!(
                "{place} of container {} keeps the text $({}), because only other containers get the secret",
                escape_name(name),
                escape_name(reference)
            ));
        }
    }
    warnings
}

/// The variables that other containers get, and that a container does not set itself.
fn injected_elsewhere<'a>(applied: &'a EditApplier<'_>, container: &Value) -> BTreeSet<&'a str> {
    let mut injected: BTreeSet<_> = applied.variables_outside(container["name"].as_str().unwrap_or_default()).collect();
    for name in list(container, "env").iter().filter_map(|variable| variable.get("name")?.as_str()) {
        injected.remove(name);
    }
    injected
}

/// The texts of a container in which the kubelet expands variables, each with its place.
fn texts(container: &Value) -> impl Iterator<Item = (TextPlace<'_>, &str)> {
    let variables = list(container, "env").iter().filter_map(|variable| {
        Some((TextPlace::Variable(variable["name"].as_str()?), variable.get("value")?.as_str()?))
    });
    let words = ["command", "args"].into_iter().flat_map(move |key| {
        let words = list(container, key).iter().enumerate();
        words.filter_map(move |(position, word)| Some((TextPlace::Word(key, position), word.as_str()?)))
    });
    variables.chain(words)
}

fn warning(container: &str, variable: &Value, reference: &str) -> String {
    let variable = escape_name(variable["name"].as_str().unwrap_or_default());
    let (container, reference) = (escape_name(container), escape_name(reference));
    format!(
        "environment variable {variable} of container {container} keeps the text $({reference}), because the secret is \
         injected after it (conventions.envPlacement)"
    )
}

/// The names in `$(NAME)`, as the kubelet reads them: `$$` is a `$`.
fn references_in(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('$')?;
            let Some(open) = after.strip_prefix('(') else {
                rest = after.strip_prefix('$').unwrap_or(after);
                continue;
            };
            let (name, after) = open.split_once(')')?;
            rest = after;
            return Some(name);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_by_the_kubelet() {
        for (value, expected) in [
            ("", vec![]),
            ("plain", vec![]),
            ("$(A)", vec!["A"]),
            ("x$(A)y$(B-c.d)z", vec!["A", "B-c.d"]),
            ("$$(A)", vec![]),
            ("$$$(A)", vec!["A"]),
            ("$A ${A} $", vec![]),
            ("$(A", vec![]),
            ("ä$(A)ö", vec!["A"]),
        ] {
            assert_eq!(references_in(value).collect::<Vec<_>>(), expected, "{value}");
        }
    }
}
