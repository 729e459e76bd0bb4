//! Finds the files of a list of patterns, and reads the sections that Ampoule uses.
//!
//! As in Flyte: patterns in their order, matches sorted by name, no folders, each file once.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::tree::{Source, Tree};
use crate::{ConfigError, reader::parse_any};

/// The sections that Ampoule uses. All other content of a file is dropped at once.
const SECTIONS: [&str; 2] = ["webhook", "secrets"];

/// The files that the patterns match.
pub(super) fn find(globs: &[String]) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = Vec::new();
    for pattern in globs {
        let error = |reason: String| ConfigError::at("", reason).in_file(pattern);
        let matches = glob::glob(pattern).map_err(|e| error(format!("is not a valid file pattern: {}", e.msg)))?;
        let mut found = false;
        for path in matches {
            let path = path.map_err(|error| unreadable(error.path(), error.error()))?;
            if path.is_file() {
                found = true;
                if !files.contains(&path) {
                    files.push(path);
                }
            }
        }
        if !found {
            return Err(error("matches no file".to_owned()));
        }
    }
    Ok(files)
}

/// Reads a file into the tree.
pub(super) fn merge(tree: &mut Tree, path: &Path) -> Result<(), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    match parse_any(&text).map_err(|error| error.in_file(path))? {
        Value::Null => Ok(()),
        Value::Object(sections) => {
            let is_used = |key: &str| SECTIONS.iter().any(|section| section.eq_ignore_ascii_case(key));
            let sections = sections.into_iter().filter(|(key, _)| is_used(key)).collect();
            tree.merge(sections, &Source::File(path.into()));
            Ok(())
        }
        _ => Err(ConfigError::at("", "must be a mapping").in_file(path)),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError::at("", format!("cannot be read: {error}")).in_file(path)
}
