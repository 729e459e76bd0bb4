//! One entry of the list: [`SecretEntry`], as a person writes it, and how it is printed.
//!
//! An entry is not checked beyond its types; [`crate::RequestedSecret::from_annotations`] does that for the whole list.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Visitor},
};
use std::fmt;

use super::ANNOTATION;

/// One secret in the annotation `ampoule.dev/secrets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SecretEntry {
    /// The group; empty if there is none.
    #[serde(default, deserialize_with = "optional_text", skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The key within the group.
    #[serde(default, deserialize_with = "optional_text")]
    pub key: String,
    /// The group's version; empty if none is meant.
    #[serde(default, deserialize_with = "optional_text", skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The environment variable: with the secret in it, or with the file's path if `file`. None takes `GROUP_KEY` for a
    /// secret, and no variable for a file.
    #[serde(default, deserialize_with = "some_text", skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// As a file below `/etc/flyte/secrets`, and not as a variable.
    #[serde(default, deserialize_with = "flag", skip_serializing_if = "std::ops::Not::not")]
    pub file: bool,
}

// === impl SecretEntry ===

impl SecretEntry {
    /// The annotation with this entry alone: its key, and the value as one line of YAML.
    ///
    /// What is printed reads back as this entry, unless it holds a character that YAML cannot say.
    #[must_use]
    pub fn to_annotation(&self) -> (&'static str, String) {
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        let list = [serde_saphyr::FlowMap(self)];
        let value = serde_saphyr::to_string_with_options(&list, options);
        (ANNOTATION, value.expect("texts and flags can always be written").trim_end().to_owned())
    }
}

/// Text and nothing that YAML takes for something else, so that every reader of the annotation sees the same.
struct Text(String);

/// True or false, in YAML 1.2's spellings.
struct Flag(bool);

struct TextVisitor;
struct FlagVisitor;

fn some_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.map(|Text(text)| text))
}

fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(some_text(deserializer)?.unwrap_or_default())
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<Flag>::deserialize(deserializer)?.is_some_and(|Flag(flag)| flag))
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor)
    }
}

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text; put quotes around what YAML takes for something else")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }
}

impl Visitor<'_> for FlagVisitor {
    type Value = Flag;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false; a file always stands below /etc/flyte/secrets")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Flag, E> {
        Ok(Flag(flag))
    }
}
