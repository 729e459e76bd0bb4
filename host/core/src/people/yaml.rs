//! The list's YAML: read with tight bounds, and with errors that say where in the list.
//!
//! Anchors, aliases, merges and further documents have no use here, and are refused: a short text cannot become a large one.

use serde_path_to_error::{Path, Segment};
use serde_saphyr::{
    Error,
    budget::BudgetBreach,
    options::{MergeKeyPolicy, NonFiniteFloatPolicy},
};

use super::{Place, SecretEntry, Wrong};
use crate::excerpt;

/// How deep the YAML may nest: a list of mappings, and room to say what is wrong with deeper ones.
const DEPTH: usize = 8;

/// Parses a list of entries.
pub(super) fn parse(text: &str) -> Result<Vec<SecretEntry>, Wrong> {
    if is_blank(text) {
        return Err(Place::whole().wrong("is empty; it must be a YAML list, [] to ask for nothing"));
    }
    let mut place = Place::whole();
    let parsed = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            place = Place::of(error.path());
            error.into_inner()
        })
    });
    parsed.map_err(|error| {
        let reason = reason(error.without_snippet(), &place);
        place.wrong(reason)
    })
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: DEPTH, max_anchors: 0, max_aliases: 0, max_documents: 1 },
        merge_keys: MergeKeyPolicy::Error,
        // Neither is refused by the parser, so that both are by the one message for what is no text.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    }
}

fn is_blank(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

/// What is wrong, in the reader's terms.
fn reason(error: &Error, place: &Place) -> String {
    match error {
        Error::SerdeInvalidType { expected, .. } => format!("must be {expected}"),
        Error::SerdeUnknownField { expected, .. } => format!("is not known; an entry has {}", expected.join(", ")),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("has {} twice", excerpt::plain(key.as_bytes()))
        }
        Error::MergeKeyNotAllowed { .. } => "must not have a merge key (<<)".to_owned(),
        Error::UnknownAnchor { .. }
        | Error::Budget { breach: BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. }, .. } => {
            "must not have anchors or aliases (& and *)".to_owned()
        }
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } | Error::MultipleDocuments { .. } => {
            "must be one YAML document".to_owned()
        }
        Error::Budget { .. } => "is nested too deeply, or holds too much".to_owned(),
        // The only list is the whole, the only mapping is an entry.
        Error::Unexpected { expected: "sequence start", .. } => {
            "must be a YAML list, such as [{group: openai, key: api-key}]".to_owned()
        }
        Error::Unexpected { expected: "mapping start", .. } => {
            "must be a mapping, such as {group: openai, key: api-key}".to_owned()
        }
        other => elsewhere(other, place),
    }
}

/// The parser's own words. They stand for themselves with a path; without one, line and column are all there is to find it by.
fn elsewhere(error: &Error, place: &Place) -> String {
    let text = error.to_string();
    let words = text.split(" at line ").next().unwrap_or(&text);
    match error.location() {
        Some(location) if place.is_whole() => {
            format!("line {}, column {}: {words}", location.line(), location.column())
        }
        _ => words.to_owned(),
    }
}

// === impl Place ===

impl Place {
    fn of(path: &Path) -> Self {
        let segments = path.iter().map(|segment| match segment {
            Segment::Seq { index } => format!("[{index}]"),
            Segment::Map { key } => format!(".{}", excerpt::plain(key.as_bytes())),
            Segment::Enum { .. } | Segment::Unknown => String::new(),
        });
        Self(segments.collect())
    }
}
