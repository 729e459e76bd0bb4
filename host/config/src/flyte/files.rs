//! Which files a list of patterns means, and what of them is read.
//!
//! As in Flyte: patterns in their order, matches in the order of their names, folders left out, each file once.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    super::{ConfigError, file},
    tree::{Source, Tree},
};

/// The sections that this program has a use for. Whatever else a file holds is forgotten at once.
const SECTIONS: [&str; 2] = ["webhook", "secrets"];

/// The files that the patterns match.
pub(super) fn find(globs: &[String]) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = Vec::new();
    for pattern in globs {
        let wrong = |reason: String| about(Path::new(pattern), reason);
        let matches = glob::glob(pattern).map_err(|error| wrong(format!("is no pattern of files: {}", error.msg)))?;
        let mut found = false;
        for path in matches {
            let path = path.map_err(|error| about(error.path(), format!("cannot be read: {}", error.error())))?;
            if path.is_file() {
                found = true;
                if !files.contains(&path) {
                    files.push(path);
                }
            }
        }
        if !found {
            return Err(wrong("matches no file".to_owned()));
        }
    }
    Ok(files)
}

/// Reads a file into the tree.
pub(super) fn merge(tree: &mut Tree, path: &Path) -> Result<(), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| about(path, format!("cannot be read: {error}")))?;
    let locate = |error: ConfigError| ConfigError { file: Some(path.to_owned()), ..error };
    match file::parse_any(&text).map_err(locate)? {
        Value::Null => {}
        Value::Object(sections) => {
            let used = |key: &str| SECTIONS.iter().any(|section| section.eq_ignore_ascii_case(key));
            let sections = sections.into_iter().filter(|(key, _)| used(key)).collect();
            tree.merge(sections, &Source::File(path.into()));
        }
        _ => return Err(about(path, "must be a mapping".to_owned())),
    }
    Ok(())
}

fn about(file: &Path, reason: String) -> ConfigError {
    ConfigError { file: Some(file.to_owned()), place: None, key: String::new(), reason }
}
