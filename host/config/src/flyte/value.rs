//! Values as Flyte reads them: a number may be quoted, a flag may be text, a list may be text with
//! commas, and a mapping may be a list of mappings.
//!
//! Flyte uses the list of mappings to keep the letter case of keys, which viper loses.

use std::{collections::BTreeMap, fmt::Display, ops::RangeInclusive, str::FromStr};

use serde_json::{Map, Value};

use super::tree::Found;
use crate::ConfigError;

impl Found<'_> {
    pub(super) fn text(self) -> Result<String, ConfigError> {
        scalar(&self.json()).ok_or_else(|| self.place().error("must be text"))
    }

    pub(super) fn flag(self) -> Result<bool, ConfigError> {
        // The values that Go's strconv.ParseBool accepts.
        match scalar(&self.json()).as_deref() {
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            _ => Err(self.place().error("must be true or false")),
        }
    }

    pub(super) fn number<T: FromStr + PartialOrd + Display>(self, range: RangeInclusive<T>) -> Result<T, ConfigError> {
        let number = scalar(&self.json()).and_then(|text| text.parse().ok()).filter(|number| range.contains(number));
        number.ok_or_else(|| {
            self.place().error(format!("must be a whole number between {} and {}", range.start(), range.end()))
        })
    }

    /// The items of a list.
    pub(super) fn list(self) -> Result<Vec<String>, ConfigError> {
        let items = match self.json() {
            Value::Array(items) => items.iter().map(scalar).collect(),
            Value::String(text) => Some(text.split(',').map(|item| item.trim().to_owned()).collect()),
            _ => None,
        };
        items
            .ok_or_else(|| self.place().error("must be a list of strings, or one string with commas between the items"))
    }

    /// A mapping with any keys.
    pub(super) fn mapping(self) -> Result<Map<String, Value>, ConfigError> {
        unlisted(self.json()).ok_or_else(|| self.place().error("must be a mapping"))
    }

    /// A mapping from any keys to text.
    pub(super) fn text_mapping(self) -> Result<BTreeMap<String, String>, ConfigError> {
        let texts = self.mapping()?.into_iter().map(|(key, value)| match scalar(&value) {
            Some(text) => Ok((key, text)),
            None => Err(self.place().part(format_args!(".{key}")).error("must be text")),
        });
        texts.collect()
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A mapping, or the merged mappings of a list.
fn unlisted(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(entries) => Some(entries),
        Value::Array(items) => {
            let mut all = Map::new();
            for item in items {
                let Value::Object(entries) = item else { return None };
                all.extend(entries);
            }
            Some(all)
        }
        _ => None,
    }
}
