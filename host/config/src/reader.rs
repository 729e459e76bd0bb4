//! Reads YAML documents; errors have line, column and key.
//!
//! Configuration files and ConfigMaps use the same reader.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ConfigError;

/// Reads a document. An empty document has no keys.
///
/// # Errors
///
/// A syntax error, an unknown key or a value of the wrong type.
pub fn parse_document<T: DeserializeOwned + Default>(yaml: &str) -> Result<T, ConfigError> {
    if is_blank(yaml) {
        return Ok(T::default());
    }
    let mut key = String::new();
    let parsed = serde_saphyr::with_deserializer_from_str(yaml, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            key = error.path().to_string();
            error.into_inner()
        })
    });
    // `.` is the document itself, `?` is an error before the first key.
    parsed.map_err(|error| located(if matches!(key.as_str(), "." | "?") { "" } else { &key }, &error))
}

/// Reads a document with any keys. An empty document is null.
pub(crate) fn parse_any(yaml: &str) -> Result<Value, ConfigError> {
    if is_blank(yaml) {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str(yaml).map_err(|error| located("", &error))
}

/// Whether the document has only comments, blank lines and document markers.
fn is_blank(yaml: &str) -> bool {
    yaml.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

fn located(key: &str, error: &serde_saphyr::Error) -> ConfigError {
    let place = error.location().map(|location| (location.line(), location.column()));
    let mut reason = reason(error);
    if key == "config" && reason.starts_with("unknown field") {
        reason += "; in the values of the chart, the configuration is the value of config";
    }
    ConfigError { place, ..ConfigError::at(key, reason) }
}

/// The parser's message in the reader's terms, without the place and the excerpt.
fn reason(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    let text = text.split(", set DuplicateKeyPolicy").next().unwrap_or(text);
    match text {
        "expected mapping start" => "must be a mapping".to_owned(),
        "expected sequence start" => "must be a list".to_owned(),
        "expected string scalar" => "must be text".to_owned(),
        _ if text.starts_with("invalid u") => "must be a whole number and not negative".to_owned(),
        _ if text.starts_with("budget breached: Depth") => "is nested too deeply".to_owned(),
        _ if text.starts_with("budget breached") => "is too large, or has too many aliases".to_owned(),
        _ if text.starts_with("multiple YAML documents") => "must be one document, not several".to_owned(),
        _ => text.to_owned(),
    }
}
