//! [`json_schema`]: the JSON Schema of the configuration file; and the keys whose change needs a
//! restart.

use std::collections::{BTreeSet, HashSet};

use schemars::{
    Schema,
    transform::{RecursiveTransform, Transform as _},
};
use serde_json::{Value, json};

use crate::{Config, bounds::definition_name, effective::defaults, file::ConfigFile};

/// The JSON Schema (draft 2020-12) of the configuration file, with a description, bounds and
/// default for each key.
///
/// Sections with `x-takes-effect: restart` are read once, at the start of the process. Every other
/// change takes effect when the configuration is reloaded.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(ConfigFile);
    // Formats such as `uint64` are unknown to validators; the defaults depend on the place of a
    // section.
    RecursiveTransform(|schema: &mut Schema| {
        schema.remove("default");
        schema.remove("format");
    })
    .transform(&mut schema);
    let mut schema = schema.to_value();
    allow_empty_sections(&mut schema);
    let defaults = defaults("flyte-v1");
    let mut filled = HashSet::new();
    fill_defaults(&mut schema, "/$defs/InjectorEntry", &defaults["injectors"][0], &mut filled);
    fill_defaults(&mut schema, "", &defaults, &mut filled);
    if let Value::Object(injectors) = &mut schema["properties"]["injectors"] {
        injectors.remove("default");
    }
    schema
}

/// The paths of the keys that differ and take effect only when the process starts again.
#[must_use]
pub fn changed_fixed_keys(at_start: &Config, now: &Config) -> Vec<String> {
    let schema = json_schema();
    let (before, after) = (at_start.effective(), now.effective());
    let mut changed = Vec::new();
    for (section, property) in schema["properties"].as_object().into_iter().flatten() {
        let definition = reference(property).map_or(&Value::Null, |name| &schema["$defs"][name]);
        if definition["x-takes-effect"] != "restart" {
            continue;
        }
        let sections = [&before[section], &after[section]];
        let keys: BTreeSet<_> =
            sections.into_iter().filter_map(Value::as_object).flat_map(|keys| keys.keys()).collect();
        let differs = |key: &&String| before[section].get(key) != after[section].get(key);
        changed.extend(keys.into_iter().filter(differs).map(|key| format!("{section}.{key}")));
    }
    changed
}

/// The definition that a property refers to.
pub(crate) fn reference(property: &Value) -> Option<&str> {
    definition_name(property).or_else(|| definition_name(property.pointer("/anyOf/0")?))
}

/// Allows null for every section and list: YAML reads a key without content as null.
fn allow_empty_sections(schema: &mut Value) {
    let definitions = schema["$defs"].clone();
    let parts = schema["$defs"].as_object_mut().into_iter().flat_map(|definitions| definitions.values_mut());
    parts.for_each(|part| allow_empty_properties(part, &definitions));
    allow_empty_properties(schema, &definitions);
}

fn allow_empty_properties(schema: &mut Value, definitions: &Value) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for property in properties.values_mut() {
        let is_section = definition_name(property).is_some_and(|name| definitions[name]["type"] == "object");
        let Value::Object(keywords) = property else { continue };
        if is_section {
            let reference = keywords.remove("$ref");
            keywords.insert("anyOf".to_owned(), json!([{ "$ref": reference }, { "type": "null" }]));
        } else if let Some(name) = keywords.get_mut("type").filter(|name| *name == "array" || *name == "object") {
            *name = json!([name.take(), "null"]);
        }
    }
}

/// Writes the defaults into the properties at `pointer`. A section that is used in two places has
/// the defaults of the first in its definition; those of the second are at the property.
fn fill_defaults(schema: &mut Value, pointer: &str, defaults: &Value, filled: &mut HashSet<String>) {
    for (key, default) in defaults.as_object().into_iter().flatten() {
        let Some(property) = schema.pointer_mut(&format!("{pointer}/properties/{key}")) else { continue };
        let section = reference(property).filter(|_| default.is_object()).map(ToOwned::to_owned);
        match section {
            Some(section) if filled.insert(section.clone()) => {
                fill_defaults(schema, &format!("/$defs/{section}"), default, filled);
            }
            _ if default.is_null() => {}
            _ => property["default"] = default.clone(),
        }
    }
}
