//! The reference page `docs/src/configuration.md`, generated from the JSON Schema.
//!
//! Every key has a heading, so that other pages can link to it.

use std::{collections::HashMap, fmt::Write as _};

use serde_json::Value;

use crate::{
    bounds::definition_name,
    injector::ConfigMapDocument,
    schema::{json_schema, reference},
};

const HEADER: &str = "# Configuration

<!-- Generated from host/config/src. Change the doc comments there, then run `cargo xtask bless`. -->

The configuration is one YAML file. Every key is optional unless its description has the word *Required*. An unknown
key is an error. The unit of a number is part of the key. A section or list without content has its defaults.

`ampoule config check` prints the effective value of every key. `ampoule config schema` prints its JSON Schema.

The process reloads the file when it changes. A key that takes effect *at restart* keeps its old value until the process
starts again.
";

const CONFIG_MAPS: &str = "
## ConfigMaps with injectors

With `plugins.configMaps`, a labelled ConfigMap can add an injector. The name of the injector is the name of the
ConfigMap. Its key `plugin.wasm` is the component. Its optional key `injector.yaml` is a document with the keys of
`injectors[]` without `name`, and with these keys:
";

/// The page.
pub(super) fn page() -> String {
    let schema = json_schema();
    let mut page = Page { definitions: &schema["$defs"], text: HEADER.to_owned(), written: HashMap::new() };
    for (name, property) in properties(&schema) {
        page.write_key(name, property, &property["default"], "at reload");
    }
    page.text += CONFIG_MAPS;
    let document = schemars::schema_for!(ConfigMapDocument).to_value();
    let entry = &schema["$defs"]["InjectorEntry"];
    for (name, property) in properties(&document).filter(|(name, _)| entry["properties"].get(name).is_none()) {
        page.write_key(&format!("injector.yaml: {name}"), property, &property["default"], "at once");
    }
    page.text
}

struct Page<'a> {
    definitions: &'a Value,
    text: String,
    /// The definitions of [`ONCE`] that are written, and their keys.
    written: HashMap<&'static str, String>,
}

/// Sections that are used in several places, and written in the first one only.
const ONCE: [&str; 2] = ["CredentialSection", "SourceSection"];

// === impl Page ===

impl<'a> Page<'a> {
    /// Writes a key and the keys below it.
    fn write_key(&mut self, path: &str, property: &'a Value, default: &Value, takes_effect: &str) {
        let level = if path.contains(['.', ':']) { "###" } else { "##" };
        let definition = self.resolve(property);
        let takes_effect = if definition["x-takes-effect"] == "restart" { "at restart" } else { takes_effect };
        let description = property["description"].as_str().or(definition["description"].as_str()).unwrap_or_default();
        let _ = write!(self.text, "\n{level} `{path}`\n\n{description}\n");
        if let Some(name) = reference(property).and_then(|name| ONCE.into_iter().find(|once| *once == name)) {
            match self.written.get(name) {
                Some(first) => {
                    let _ = write!(self.text, "\nMapping with the keys of `{first}`.\n");
                    return;
                }
                None => _ = self.written.insert(name, path.to_owned()),
            }
        }
        let item = self.resolve(&property["items"]);
        if let Some(section) = definition_name(&item["anyOf"][1]) {
            let _ = writeln!(self.text, "\nList of texts or mappings. Takes effect {takes_effect}.");
            for (name, property) in properties(&self.definitions[section]) {
                self.write_key(&format!("{path}[].{name}"), property, &property["default"], takes_effect);
            }
            return;
        }
        let (path, section) = if item.is_null() { (path.to_owned(), definition) } else { (format!("{path}[]"), item) };
        if section["properties"].is_object() {
            for (name, property) in properties(section) {
                // A section that is used twice has other defaults in the second place.
                let default = default.get(name).unwrap_or(&property["default"]);
                self.write_key(&format!("{path}.{name}"), property, default, takes_effect);
            }
            return;
        }
        let _ = write!(self.text, "\n{}.", describe_type(definition));
        if !default.is_null() {
            let default = default.as_str().map_or_else(|| default.to_string(), ToOwned::to_owned);
            let _ = write!(self.text, " Default: `{default}`.");
        }
        let _ = writeln!(self.text, " Takes effect {takes_effect}.");
        self.write_values(definition);
    }

    /// Writes the values of an enum.
    fn write_values(&mut self, definition: &Value) {
        for (i, variant) in definition["oneOf"].as_array().into_iter().flatten().enumerate() {
            let (value, meaning) = (&variant["const"], &variant["description"]);
            let (value, meaning) = (value.as_str().unwrap_or_default(), meaning.as_str().unwrap_or_default());
            let meaning = meaning.replace('\n', "\n  ");
            let _ = writeln!(self.text, "{}* `{value}`: {meaning}", if i == 0 { "\n" } else { "" });
        }
    }

    /// The definition that a property refers to, or the property itself.
    fn resolve(&self, property: &'a Value) -> &'a Value {
        reference(property).map_or(property, |name| &self.definitions[name])
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// The type of a value, with its bounds.
fn describe_type(schema: &Value) -> String {
    let bounds = || match (&schema["minimum"], &schema["maximum"]) {
        (Value::Null, _) | (_, Value::Null) => String::new(),
        (least, most) => format!(" from {least} to {most}"),
    };
    match schema["type"].as_str().or(schema["type"][0].as_str()) {
        Some("integer") => format!("Integer{}", bounds()),
        Some("number") => format!("Number{}", bounds()),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("string") => "Text".to_owned(),
        Some("array") => "List of texts".to_owned(),
        Some("object") => "Mapping".to_owned(),
        _ if schema["oneOf"].is_array() => "One of the values below".to_owned(),
        _ => panic!("the reference page has no name for the type of {schema}"),
    }
}
