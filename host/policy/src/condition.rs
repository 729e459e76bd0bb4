//! [`evaluate_condition`]: a condition of a webhook's registration, as an API server evaluates it.
//!
//! Only commands use it, for the program's own expressions: their cost has no bound.

use cel::Context;
use serde_json::{Map, Value, json};

use crate::compile::{environment, parse};

/// Why a condition has no result.
#[derive(Debug, thiserror::Error)]
#[error("the condition cannot be evaluated: {0}")]
pub struct ConditionError(String);

/// Evaluates a condition for an object in a namespace.
///
/// # Errors
///
/// The expression is not valid, or reads a field that the object does not have.
pub fn evaluate_condition(expression: &str, namespace: &str, object: &Value) -> Result<bool, ConditionError> {
    let program = parse(expression).map_err(|fault| ConditionError(fault.reason))?;
    let mut context = Context::with_env(environment());
    for (name, value) in [("object", &without_nulls(object)), ("request", &json!({ "namespace": namespace }))] {
        let value = cel::to_value(value).map_err(|error| ConditionError(error.to_string()))?;
        context.add_variable_from_value(name, value);
    }
    match program.execute(&context) {
        Ok(cel::Value::Bool(is_true)) => Ok(is_true),
        Ok(_) => Err(ConditionError("the result is not bool".to_owned())),
        // The messages of the interpreter contain values.
        Err(_) => Err(ConditionError("a field that it reads is absent, or has another type".to_owned())),
    }
}

/// An object without fields that are null: an API server drops them when it reads a document.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let present = fields.iter().filter(|(_, field)| !field.is_null());
            Value::Object(present.map(|(key, field)| (key.clone(), without_nulls(field))).collect::<Map<_, _>>())
        }
        Value::Array(elements) => elements.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_reads_the_object_and_the_namespace() {
        let object =
            json!({ "metadata": { "name": "a", "labels": null }, "spec": { "containers": [{ "env": null }] } });
        for (expression, expected) in [
            ("object.metadata.name == 'a' && request.namespace == 'team'", Some(true)),
            ("has(object.metadata.labels)", Some(false)),
            ("object.spec.containers.exists(c, has(c.env))", Some(false)),
            ("object.metadata.name", None),
            ("object.metadata.missing == 'a'", None),
            ("object.", None),
        ] {
            assert_eq!(evaluate_condition(expression, "team", &object).ok(), expected, "{expression}");
        }
    }
}
