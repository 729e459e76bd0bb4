//! Checks numbers against the bounds that the JSON Schema has for their keys.
//!
//! The bounds are written once, as `#[schemars(range(…))]` at the field.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::ConfigError;

/// Checks every number in `section`, which is the value of `key`; an empty key is the document.
pub(crate) fn check<T: JsonSchema + Serialize>(key: &str, section: &T) -> Result<(), ConfigError> {
    let schema = schemars::schema_for!(T).to_value();
    let section = serde_json::to_value(section).expect("keys, paths and numbers have a JSON form");
    check_value(&schema["$defs"], &schema, key, &section)
}

fn check_value(definitions: &Value, schema: &Value, key: &str, value: &Value) -> Result<(), ConfigError> {
    if let Some(name) = definition_name(schema) {
        return check_value(definitions, &definitions[name], key, value);
    }
    for variant in schema["anyOf"].as_array().into_iter().flatten() {
        check_value(definitions, variant, key, value)?;
    }
    match value {
        Value::Object(entries) => entries.iter().try_for_each(|(name, value)| {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            check_value(definitions, &schema["properties"][name], &key, value)
        }),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(i, value)| check_value(definitions, &schema["items"], &format!("{key}[{i}]"), value)),
        _ => check_number(schema, key, value),
    }
}

fn check_number(schema: &Value, key: &str, value: &Value) -> Result<(), ConfigError> {
    let (Some(least), Some(most)) = (schema["minimum"].as_f64(), schema["maximum"].as_f64()) else { return Ok(()) };
    if value.as_f64().is_some_and(|number| (least..=most).contains(&number)) {
        return Ok(());
    }
    // JSON has no NaN and no infinity: they are null. Keys that are not set are left out.
    let value = if value.is_null() { "NaN or infinity".to_owned() } else { value.to_string() };
    Err(ConfigError::at(key, format!("must be between {least} and {most}, not {value}")))
}

/// The name of the definition that a schema refers to.
pub(crate) fn definition_name(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/$defs/")
}
