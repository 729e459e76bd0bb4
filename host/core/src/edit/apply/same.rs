//! Compares the content of a pod with the content that an edit requests.
//!
//! The API server fills in defaults and drops empty values before a second review. Therefore an
//! element is the same if it contains everything that the edit requests; it may contain more.

use serde_json::Value;

/// Whether `existing` contains everything in `requested`. Lists must match in full.
pub(super) fn contains(existing: &Value, requested: &Value) -> bool {
    match (existing, requested) {
        (Value::Object(existing), Value::Object(requested)) => {
            requested.iter().all(|(key, requested)| contains(existing.get(key).unwrap_or(&Value::Null), requested))
        }
        (Value::Array(existing), Value::Array(requested)) => {
            existing.len() == requested.len()
                && existing.iter().zip(requested).all(|(existing, requested)| contains(existing, requested))
        }
        (Value::Null, requested) => is_dropped(requested),
        (existing, requested) => existing == requested,
    }
}

/// Whether Kubernetes omits the value from an object (`omitempty`).
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
