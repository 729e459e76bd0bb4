//! [`ConfigError`]: one error of a configuration, with the file, the place and the key.
//!
//! Every error names what its reader can change.

use std::{fmt, path::PathBuf};

/// An error of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, if the configuration is a file.
    pub file: Option<PathBuf>,
    /// Line and column, where known.
    pub place: Option<(u64, u64)>,
    /// The key's path, such as `injectors[0].limits.memoryMiB`; empty for the whole document.
    pub key: String,
    /// The problem and its solution.
    pub reason: String,
}

// === impl ConfigError ===

impl ConfigError {
    /// An error at a key, without file and place.
    pub fn at(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { file: None, place: None, key: key.into(), reason: reason.into() }
    }

    /// The same error, in this file.
    #[must_use]
    pub(crate) fn in_file(self, file: impl Into<PathBuf>) -> Self {
        Self { file: Some(file.into()), ..self }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}", file.display())?,
            None => f.write_str("configuration")?,
        }
        if let Some((line, column)) = self.place {
            write!(f, ", line {line}, column {column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for ConfigError {}
