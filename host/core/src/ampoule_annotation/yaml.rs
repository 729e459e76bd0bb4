//! Parses the YAML of the list within tight limits, and gives the path of an error.
//!
//! Anchors, aliases, merge keys and multiple documents are errors: the list does not need them, and
//! without them a short text cannot expand to a large value.

use serde_path_to_error::{Path, Segment};
use serde_saphyr::{
    Error,
    budget::BudgetBreach,
    options::{MergeKeyPolicy, NonFiniteFloatPolicy},
};

use super::{EntryError, EntryPath, SecretEntry};
use crate::text;

/// Maximum nesting depth. A list of mappings needs less; the rest lets errors name deeper values.
const MAX_DEPTH: usize = 8;

/// Parses a list of entries.
pub(super) fn parse(text: &str) -> Result<Vec<SecretEntry>, EntryError> {
    if is_blank(text) {
        let reason = "is empty; write [] to request no secret";
        return Err(EntryPath::whole().error(reason));
    }
    let mut path = EntryPath::whole();
    let parsed = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            path = EntryPath::from_serde_path(error.path());
            error.into_inner()
        })
    });
    parsed.map_err(|error| {
        let mut reason = reason(error.without_snippet(), &path);
        if path.is_whole() && has_joined_lines(text) {
            reason += "; the lines of the list are joined: write | before it, not >";
        }
        path.error(reason)
    })
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH, max_anchors: 0, max_aliases: 0, max_documents: 1,
        },
        merge_keys: MergeKeyPolicy::Error,
        // The parser passes such numbers on, so that they fail with the message for non-strings.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    }
}

fn is_blank(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

/// Whether a text is several entries of a list in one line, as YAML's `>` joins them.
fn has_joined_lines(text: &str) -> bool {
    let line = text.trim();
    line.strip_prefix("- ").is_some_and(|rest| rest.contains(" - ")) && !line.contains('\n')
}

/// Returns the message for a parser error, in the terms of the annotation.
fn reason(error: &Error, path: &EntryPath) -> String {
    match error {
        Error::SerdeInvalidType { expected, .. } => format!("must be {expected}"),
        Error::SerdeUnknownField { expected, .. } => {
            format!("is not a known field; known fields: {}", expected.join(", "))
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("has duplicate field {}", text::escape(key.as_bytes()))
        }
        Error::MergeKeyNotAllowed { .. } => "must not have a merge key (<<)".to_owned(),
        Error::UnknownAnchor { .. }
        | Error::Budget { breach: BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. }, .. } => {
            "must not have anchors or aliases (& and *)".to_owned()
        }
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } | Error::MultipleDocuments { .. } => {
            "must be one YAML document".to_owned()
        }
        Error::Budget { .. } => "is nested too deeply or has too many values".to_owned(),
        Error::Unexpected { expected: "sequence start", .. } if !path.is_whole() => {
            "must be a list of names, such as [app]".to_owned()
        }
        Error::Unexpected { expected: "sequence start", .. } => {
            "must be a YAML list, such as [{group: openai, key: api-key}]".to_owned()
        }
        Error::Unexpected { expected: "mapping start", .. } if path.is_in_entry() => {
            "must be a mapping of texts, such as {region: eu}".to_owned()
        }
        Error::Unexpected { expected: "mapping start", .. } => {
            "must be a mapping, such as {group: openai, key: api-key}".to_owned()
        }
        other => parser_message(other, path),
    }
}

/// Returns the parser's own message, with line and column if there is no path to find the error by.
fn parser_message(error: &Error, path: &EntryPath) -> String {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text);
    match error.location() {
        Some(location) if path.is_whole() => {
            format!("line {}, column {}: {message}", location.line(), location.column())
        }
        _ => message.to_owned(),
    }
}

// === impl EntryPath ===

impl EntryPath {
    fn from_serde_path(path: &Path) -> Self {
        Self(path.iter().map(path_segment).collect())
    }
}

fn path_segment(segment: &Segment) -> String {
    match segment {
        Segment::Seq { index } => format!("[{index}]"),
        Segment::Map { key } => format!(".{}", text::escape(key.as_bytes())),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    }
}
