//! [`Place`] and [`Origins`]: where a key of Flyte was written, and which key of Ampoule it became.
//!
//! Errors of the common check are reported at the key of Flyte.

use std::{fmt, path::PathBuf};

use crate::ConfigError;

/// A key as its author wrote it, and its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) key: String,
    /// `None` for a flag and for a key that is missing.
    pub(super) file: Option<PathBuf>,
}

/// For each key of Ampoule, the key of Flyte that it came from.
#[derive(Debug, Default)]
pub(super) struct Origins(Vec<(String, Place)>);

// === impl Place ===

impl Place {
    /// A key that no file has.
    pub(super) fn missing(key: &str) -> Self {
        Self { key: key.to_owned(), file: None }
    }

    /// The place of a part of this key, such as `.values` or `[0]`.
    pub(super) fn part(&self, suffix: impl fmt::Display) -> Self {
        Self { key: format!("{}{suffix}", self.key), file: self.file.clone() }
    }

    /// An error at this key.
    pub(super) fn error(self, reason: impl Into<String>) -> ConfigError {
        ConfigError { file: self.file, ..ConfigError::at(self.key, reason) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{} ({})", self.key, file.display()),
            None => f.write_str(&self.key),
        }
    }
}

// === impl Origins ===

impl Origins {
    /// Records the origin of a key of Ampoule and of all keys below it.
    pub(super) fn add(&mut self, key: &str, place: Place) {
        self.0.push((key.to_owned(), place));
    }

    /// The same error, at the key of Flyte.
    pub(super) fn explain(&self, error: ConfigError) -> ConfigError {
        let below =
            |key: &str| error.key.strip_prefix(key).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        match self.0.iter().find_map(|(key, place)| Some((below(key)?, place))) {
            Some((rest, place)) => place.part(rest).error(error.reason),
            None => error,
        }
    }
}
