//! Checks the JSON Schema of a plugin's settings, as far as a typical mistake goes: the schema and
//! its parts are objects with keywords of the right types.

use serde_json::{Map, Value};

/// The types of JSON Schema.
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Returns the defect of a schema. An empty text is no schema.
pub(super) fn find_defect(schema: &str) -> Option<String> {
    if schema.is_empty() {
        return None;
    }
    let schema: Value = match serde_json::from_str(schema) {
        Ok(schema) => schema,
        Err(error) => return Some(format!("settingsSchema: is not JSON: {error}")),
    };
    match &schema {
        Value::Object(keywords) => check_keywords("settingsSchema", keywords).err(),
        other => Some(format!("settingsSchema: must be a JSON Schema, which is an object, not {}", kind(other))),
    }
}

fn check_keywords(at: &str, keywords: &Map<String, Value>) -> Result<(), String> {
    for (keyword, value) in keywords {
        let at = format!("{at}.{keyword}");
        match (keyword.as_str(), value) {
            ("type", Value::String(name)) => check_type(&at, name)?,
            ("type", Value::Array(names)) => {
                names.iter().try_for_each(|name| check_type(&at, name.as_str().unwrap_or_default()))?;
            }
            ("type", other) => return Err(format!("{at}: must be the name of a type, not {}", kind(other))),
            ("required", Value::Array(names)) if names.iter().all(Value::is_string) => {}
            ("required", _) => return Err(format!("{at}: must be a list of names")),
            ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(parts)) => {
                parts.iter().try_for_each(|(name, part)| check_part(&format!("{at}.{name}"), part))?;
            }
            ("properties" | "patternProperties" | "$defs" | "definitions", other) => {
                return Err(format!("{at}: must be an object, not {}", kind(other)));
            }
            ("additionalProperties" | "not", part) => check_part(&at, part)?,
            _ => {}
        }
    }
    Ok(())
}

/// Checks a schema within another one: an object, or a boolean.
fn check_part(at: &str, part: &Value) -> Result<(), String> {
    match part {
        Value::Object(keywords) => check_keywords(at, keywords),
        Value::Bool(_) => Ok(()),
        other => Err(format!("{at}: must be a JSON Schema, which is an object, not {}", kind(other))),
    }
}

fn check_type(at: &str, name: &str) -> Result<(), String> {
    if TYPES.contains(&name) { Ok(()) } else { Err(format!("{at}: {name:?} is not one of {}", TYPES.join(", "))) }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_defect_of_a_schema() {
        for (schema, expected) in [
            ("", None),
            ("{}", None),
            (r#"{ "type": "object", "required": ["a"], "properties": { "a": { "type": ["string", "null"] } } }"#, None),
            (r#"{ "additionalProperties": false }"#, None),
            ("[]", Some("settingsSchema: must be a JSON Schema, which is an object, not a list")),
            ("null", Some("settingsSchema: must be a JSON Schema, which is an object, not null")),
            (
                r#"{ "type": "text" }"#,
                Some(
                    "settingsSchema.type: \"text\" is not one of array, boolean, integer, null, number, object, string",
                ),
            ),
            (r#"{ "required": true }"#, Some("settingsSchema.required: must be a list of names")),
            (
                r#"{ "properties": { "a": "string" } }"#,
                Some("settingsSchema.properties.a: must be a JSON Schema, which is an object, not a text"),
            ),
            (r#"{ "properties": [] }"#, Some("settingsSchema.properties: must be an object, not a list")),
        ] {
            assert_eq!(find_defect(schema).as_deref(), expected, "{schema}");
        }
    }
}
