//! Warns about `$(NAME)` in a variable of the pod, if the secret `NAME` comes after it:
//! [`references`].
//!
//! The kubelet expands only variables that are earlier in the list. In `command` and `args`, it
//! expands all of them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    edit::apply::EditApplier,
    pod::{Pod, list},
    text::escape_name,
};

/// Bytes of the values that are searched, over all containers.
const MAX_SCANNED: usize = 1 << 20;

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
