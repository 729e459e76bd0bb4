//! One entry of the list: [`SecretEntry`], and how it is printed.
//!
//! Parsing checks only the types of an entry's fields. [`crate::RequestedSecret::from_annotations`]
//! checks the values for the whole list.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Visitor},
};

use super::KEY;

/// One secret in the annotation `ampoule.dev/secrets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SecretEntry {
    /// The group; empty for a backend without groups. `None` if the entry has no `group`, which is
    /// an error.
    #[serde(default, deserialize_with = "optional_string", skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The key within the group.
    #[serde(default, deserialize_with = "string_or_empty")]
    pub key: String,
    /// The version of the group; empty if the entry sets none.
    #[serde(default, deserialize_with = "string_or_empty", skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The environment variable: contains the secret, or the path of the file if `file` is set.
    /// `None` means `GROUP_KEY` for a secret, and no variable for a file.
    #[serde(default, deserialize_with = "optional_string", skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Whether to deliver the secret as a file below `/etc/flyte/secrets` instead of a variable.
    #[serde(default, deserialize_with = "flag", skip_serializing_if = "std::ops::Not::not")]
    pub file: bool,
    /// `file`: with `delivery: pod`, the pod gets a file and the variable `NAME_FILE` as well, and
    /// starts without the variable if `fileKeyRef` cannot express the value.
    #[serde(default, deserialize_with = "optional_string", skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

// === impl SecretEntry ===

impl SecretEntry {
    /// Returns the annotation with this entry only: the key, and the value as one line of YAML.
    ///
    /// The value parses to the same entry, unless the entry contains a character that YAML cannot
    /// represent.
    #[must_use]
    pub fn to_annotation(&self) -> (&'static str, String) {
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        let list = [serde_saphyr::FlowMap(self)];
        let value = serde_saphyr::to_string_with_options(&list, options);
        (KEY, value.expect("strings and flags always serialize").trim_end().to_owned())
    }
}

/// A YAML string. Other scalars are errors, so that every reader of the annotation sees the same
/// value.
struct YamlString(String);

/// `true` or `false` in the spellings of YAML 1.2.
struct YamlFlag(bool);

struct StringVisitor;
struct FlagVisitor;

fn optional_string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<YamlString>::deserialize(deserializer)?.map(|string| string.0))
}

fn string_or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(optional_string(deserializer)?.unwrap_or_default())
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<YamlFlag>::deserialize(deserializer)?.is_some_and(|flag| flag.0))
}

impl<'de> Deserialize<'de> for YamlString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StringVisitor)
    }
}

impl<'de> Deserialize<'de> for YamlFlag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor)
    }
}

impl Visitor<'_> for StringVisitor {
    type Value = YamlString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string; put quotes around values that YAML reads as another type")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<YamlString, E> {
        Ok(YamlString(text.to_owned()))
    }
}

impl Visitor<'_> for FlagVisitor {
    type Value = YamlFlag;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false; the file is always below /etc/flyte/secrets")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<YamlFlag, E> {
        Ok(YamlFlag(flag))
    }
}
