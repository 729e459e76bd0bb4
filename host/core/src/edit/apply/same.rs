//! Whether a pod has already what an edit would write.
//!
//! The API server fills defaults in and drops empty values before a webhook is asked again, so "the same" means: all that
//! the edit says is there, more may be.

use serde_json::Value;

/// Whether `existing` says everything that `wanted` says. Lists must match in full.
pub(super) fn contains(existing: &Value, wanted: &Value) -> bool {
    match (existing, wanted) {
        (Value::Object(existing), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| contains(existing.get(key).unwrap_or(&Value::Null), wanted))
        }
        (Value::Array(existing), Value::Array(wanted)) => {
            existing.len() == wanted.len()
                && existing.iter().zip(wanted).all(|(existing, wanted)| contains(existing, wanted))
        }
        (Value::Null, wanted) => is_dropped(wanted),
        (existing, wanted) => existing == wanted,
    }
}

/// What Kubernetes leaves out of an object (`omitempty`).
fn is_dropped(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::String(value) => value.is_empty(),
        Value::Array(value) => value.is_empty(),
        Value::Object(value) => value.values().all(is_dropped),
        Value::Number(_) => false,
    }
}
