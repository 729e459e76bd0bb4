//! Rules for names: labels and objects of Kubernetes, and names that appear in messages and
//! metrics.

use ampoule_core::is_object_name;

use crate::ConfigError;

/// Maximum length of the name of an injector or key: it is part of every message and metric.
const LONGEST_NAME: usize = 63;

/// Checks the name of an injector or key.
pub(crate) fn check_name(key: &str, name: &str) -> Result<(), ConfigError> {
    if (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(is_label_char) {
        return Ok(());
    }
    let reason = format!("{name:?} is not a valid name; use 1 to {LONGEST_NAME} of a-z, 0-9 and -");
    Err(ConfigError::at(key, reason))
}

/// Checks the name of an object by RFC 1123, which applies to most kinds.
pub(crate) fn check_object_name(key: &str, name: &str) -> Result<(), ConfigError> {
    if is_object_name(name) {
        return Ok(());
    }
    let reason = "is not a valid object name; use a-z, 0-9, - and ., and start and end with a letter or digit";
    Err(ConfigError::at(key, format!("{name:?} {reason}")))
}

fn is_label_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}
