//! [`hide_values`]: a patch of a pod without the values of variables.
//!
//! A fetched value can only be the value of a variable in a pod (`delivery: inline`); everything
//! else of an edit refers to it. The caller could create the pod and read the value; it is hidden
//! so that it is in no screenshot, log of a proxy or cache.

use json_patch::Patch;
use serde_json::Value;

/// The text in place of a value.
pub(crate) const HIDDEN: &str = "(hidden)";

/// Returns the patch as JSON, with every value of a variable that it adds or replaces hidden.
pub(crate) fn hide_values(patch: &Patch) -> Value {
    let mut operations = serde_json::to_value(patch).expect("a patch has a JSON form");
    for operation in operations.as_array_mut().into_iter().flatten() {
        let path = operation["path"].as_str().unwrap_or_default().to_owned();
        let Some(value) = operation.get_mut("value") else { continue };
        match path.rsplit('/').collect::<Vec<_>>()[..] {
            ["value", _, "env", ..] => hide_text(value),
            [_, "env", ..] => hide_entry(value),
            ["env", ..] => hide_entries(value),
            _ => hide_below(value),
        }
    }
    operations
}

/// Hides the values of every list `env` in a part of the pod.
fn hide_below(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if name == "env" { hide_entries(field) } else { hide_below(field) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_below),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn hide_entries(list: &mut Value) {
    match list {
        Value::Array(entries) => entries.iter_mut().for_each(hide_entry),
        other => hide_text(other),
    }
}

fn hide_entry(entry: &mut Value) {
    match entry {
        Value::Object(fields) => fields.get_mut("value").into_iter().for_each(hide_text),
        other => hide_text(other),
    }
}

fn hide_text(value: &mut Value) {
    if !value.is_null() {
        *value = Value::String(HIDDEN.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_variables_are_hidden_wherever_a_patch_has_them() {
        let variable = |value: &str| json!({ "name": "A", "value": value });
        let reference = json!({ "name": "B", "valueFrom": { "secretKeyRef": { "name": "db", "key": "password" } } });
        for (path, before, after) in [
            ("/spec/containers/0/env", json!([variable("canary"), reference]), json!([variable(HIDDEN), reference])),
            ("/spec/containers/0/env/0", variable("canary"), variable(HIDDEN)),
            ("/spec/containers/0/env/-", reference.clone(), reference.clone()),
            ("/spec/containers/0/env/3/value", json!("canary"), json!(HIDDEN)),
            (
                "/spec/initContainers/0",
                json!({ "name": "pull", "env": [variable("canary")], "args": ["a"] }),
                json!({ "name": "pull", "env": [variable(HIDDEN)], "args": ["a"] }),
            ),
            ("/spec/initContainers", json!([{ "env": [variable("canary")] }]), json!([{ "env": [variable(HIDDEN)] }])),
            (
                "/spec",
                json!({ "containers": [{ "env": [variable("canary")] }] }),
                json!({ "containers": [{ "env": [variable(HIDDEN)] }] }),
            ),
            ("/spec/containers/0/env", json!("canary"), json!(HIDDEN)),
            ("/spec/containers/0/env/0", json!("canary"), json!(HIDDEN)),
            ("/metadata/annotations/a", json!("b"), json!("b")),
            (
                "/spec/volumes/-",
                json!({ "name": "v", "secret": { "secretName": "db" } }),
                json!({ "name": "v", "secret": { "secretName": "db" } }),
            ),
        ] {
            let patch: Patch = serde_json::from_value(json!([{ "op": "add", "path": path, "value": before }])).unwrap();
            let hidden = hide_values(&patch);
            assert_eq!(hidden, json!([{ "op": "add", "path": path, "value": after }]), "{path}");
            assert!(!hidden.to_string().contains("canary"), "{path}");
        }
        let removal: Patch =
            serde_json::from_value(json!([{ "op": "remove", "path": "/spec/containers/0/env/0" }])).unwrap();
        assert_eq!(hide_values(&removal), serde_json::to_value(&removal).unwrap());
    }
}
