//! [`PluginInfo`]: the description that a plugin gives of itself, and the bounds of texts that a
//! guest wrote.
//!
//! They are the same for every version of the contract.

use ampoule_core::{MountRequirement, text::clean};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Bytes of an error text that a guest wrote, as the contract specifies.
const MAX_ERROR: usize = 512;

/// Bytes of a plugin's name and of its version. A longer one would dominate every message.
const MAX_NAME: usize = 64;

/// The description that a plugin gives of itself. Name and version are short and printable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// The backend's name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// The ways in which it can deliver a secret.
    pub mounts: Vec<MountRequirement>,
    /// Whether it injects every request with a group and a key, because it looks nothing up.
    pub serves_all: bool,
    /// JSON Schema of its settings, as the plugin wrote it. Empty if it has none.
    pub settings_schema: String,
}

/// The document that `describe` returns. Later keys are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description<'a> {
    name: String,
    version: String,
    #[serde(default)]
    deliveries: Vec<String>,
    #[serde(default)]
    serves_all: bool,
    #[serde(borrow)]
    settings_schema: Option<&'a RawValue>,
}

// === impl PluginInfo ===

impl PluginInfo {
    /// Reads the document that `describe` returned.
    ///
    /// # Errors
    ///
    /// The text is not the document of the contract, or the name or version is empty.
    pub(crate) fn parse(document: &str) -> Result<Self, String> {
        let description: Description<'_> = serde_json::from_str(document).map_err(|error| error.to_string())?;
        let info = Self {
            name: clean(&description.name, MAX_NAME),
            version: clean(&description.version, MAX_NAME),
            mounts: description.deliveries.iter().filter_map(|name| delivery(name)).collect(),
            serves_all: description.serves_all,
            settings_schema: description.settings_schema.map(|schema| schema.get().to_owned()).unwrap_or_default(),
        };
        for (key, value) in [("name", &info.name), ("version", &info.version)] {
            if value.trim().is_empty() {
                return Err(format!("{key} must not be empty"));
            }
        }
        Ok(info)
    }
}

/// The text of an error that a guest returned, printable and at most [`MAX_ERROR`] bytes long.
pub(crate) fn clean_error(reason: &str) -> String {
    clean(reason, MAX_ERROR)
}

/// A delivery that this version knows.
fn delivery(name: &str) -> Option<MountRequirement> {
    match name {
        "env-var" => Some(MountRequirement::EnvVar),
        "file" => Some(MountRequirement::File),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_contract_defines_and_ignores_other_keys() {
        let text = r#"{"name": "k8s", "version": "1.0", "deliveries": ["file", "later"], "servesAll": true, "settingsSchema": {"a": 1}, "later": 1}"#;
        let info = PluginInfo::parse(text).unwrap();
        assert!(info.serves_all && !PluginInfo::parse(r#"{"name": "k8s", "version": "1.0"}"#).unwrap().serves_all);
        assert_eq!((info.name.as_str(), info.version.as_str()), ("k8s", "1.0"));
        assert_eq!(info.mounts, [MountRequirement::File]);
        assert_eq!(info.settings_schema, r#"{"a": 1}"#);
        assert_eq!(PluginInfo::parse(r#"{"name": "k8s", "version": "1.0"}"#).unwrap().settings_schema, "");
    }

    #[test]
    fn names_the_defect_of_a_description() {
        insta::assert_snapshot!(PluginInfo::parse("k8s").unwrap_err(), @"expected value at line 1 column 1");
        insta::assert_snapshot!(PluginInfo::parse("{}").unwrap_err(), @"missing field `name` at line 1 column 2");
        insta::assert_snapshot!(PluginInfo::parse(r#"{"name": "\n", "version": "1"}"#).unwrap_err(), @"name must not be empty");
    }
}
