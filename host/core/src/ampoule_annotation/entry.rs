//! One entry of the list: [`SecretEntry`], and how it is printed.
//!
//! Parsing checks only the types of an entry's fields. [`crate::RequestedSecret::from_annotations`]
//! checks the values for the whole list.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, SeqAccess, Unexpected, Visitor},
};

use super::KEY;

/// The value of `keys`, for messages.
pub(super) const KEYS: &str = "all, for every key of the group; for single keys, write one entry with key for each";

/// One secret in the annotation `ampoule.dev/secrets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SecretEntry {
    /// The group; empty for a backend without groups. `None` if the entry has no `group`, which is
    /// an error.
    #[serde(default, deserialize_with = "optional_string", skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The key within the group.
    #[serde(default, deserialize_with = "string_or_empty", skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// `all`: every key of the group, in place of `key`.
    #[serde(default, deserialize_with = "keys", skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
    /// The version of the group; empty if the entry sets none.
    #[serde(default, deserialize_with = "string_or_empty", skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The environment variable: contains the secret, or the path of the file if `file` is set.
    /// `None` means `GROUP_KEY` for a secret, and no variable for a file.
    #[serde(default, deserialize_with = "optional_string", skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The start of the names of the variables for all keys.
    #[serde(
        default,
        rename = "envPrefix",
        deserialize_with = "optional_string",
        skip_serializing_if = "Option::is_none"
    )]
    pub env_prefix: Option<String>,
    /// Whether to deliver the secret as a file instead of a variable. Without `path`, the file is
    /// below the mount directory of the configuration.
    #[serde(default, deserialize_with = "file_flag", skip_serializing_if = "std::ops::Not::not")]
    pub file: bool,
    /// The absolute path of the file, or with `/` at its end the folder for a file that has the
    /// name of the key. Implies `file`.
    #[serde(default, deserialize_with = "optional_string", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The permissions of the file as octal digits, such as `0400`.
    #[serde(default, deserialize_with = "digits", skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The content of a file that is made of several secrets, in place of `group` and `key`.
    #[serde(default, deserialize_with = "optional_string", skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Whether the pod starts without the secret. `None` means that the profile and the plugin
    /// decide.
    #[serde(default, deserialize_with = "optional_flag", skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// The names of the containers that get the secret; `None` means all of them.
    #[serde(default, deserialize_with = "names", skip_serializing_if = "Option::is_none")]
    pub containers: Option<Vec<String>>,
    /// The only injector that is asked; `None` means all of them.
    #[serde(default, deserialize_with = "optional_string", skip_serializing_if = "Option::is_none")]
    pub injector: Option<String>,
    /// Options for the plugin.
    #[serde(default, deserialize_with = "texts", skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
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

/// The value of `keys`, as text.
struct YamlKeys(String);

/// `true` or `false` in the spellings of YAML 1.2.
struct YamlFlag(bool);

/// The value of `file`.
struct FileFlag(bool);

/// The text of a string or of a number, as it is written.
struct YamlDigits(String);

struct DigitsVisitor;

/// Accepts a text, with these expectations in the messages for other values.
struct StringVisitor {
    expected: &'static str,
    /// Of a list.
    expected_one: &'static str,
}

/// Accepts `true` and `false`, and adds a hint to the message for other values.
struct FlagVisitor {
    expected: &'static str,
}

fn optional_string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<YamlString>::deserialize(deserializer)?.map(|string| string.0))
}

fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<YamlKeys>::deserialize(deserializer)?.map(|keys| keys.0))
}

fn string_or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(optional_string(deserializer)?.unwrap_or_default())
}

fn optional_flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(Option::<YamlFlag>::deserialize(deserializer)?.map(|flag| flag.0))
}

fn file_flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<FileFlag>::deserialize(deserializer)?.is_some_and(|flag| flag.0))
}

fn digits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<YamlDigits>::deserialize(deserializer)?.map(|digits| digits.0))
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let names = Option::<Vec<YamlString>>::deserialize(deserializer)?;
    Ok(names.map(|names| names.into_iter().map(|name| name.0).collect()))
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let texts = Option::<BTreeMap<String, YamlString>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(texts.into_iter().map(|(name, text)| (name, text.0)).collect())
}

impl<'de> Deserialize<'de> for YamlString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a string; put quotes around values that YAML reads as another type";
        let expected_one = "a string, not a list; write one entry for each secret";
        deserializer.deserialize_any(StringVisitor { expected, expected_one }).map(Self)
    }
}

impl<'de> Deserialize<'de> for YamlKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StringVisitor { expected: KEYS, expected_one: KEYS }).map(Self)
    }
}

impl<'de> Deserialize<'de> for YamlFlag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor { expected: "true or false" }).map(Self)
    }
}

impl<'de> Deserialize<'de> for FileFlag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "true or false; path sets the place of the file";
        deserializer.deserialize_any(FlagVisitor { expected }).map(Self)
    }
}

impl<'de> Deserialize<'de> for YamlDigits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `deserialize_any`, which would turn 0400 into a number.
        deserializer.deserialize_str(DigitsVisitor)
    }
}

impl Visitor<'_> for DigitsVisitor {
    type Value = YamlDigits;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("octal digits, such as 0400")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<YamlDigits, E> {
        Ok(YamlDigits(text.to_owned()))
    }
}

impl<'de> Visitor<'de> for StringVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(Error::invalid_type(Unexpected::Seq, &self.expected_one))
    }
}

impl Visitor<'_> for FlagVisitor {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<bool, E> {
        Ok(flag)
    }
}
