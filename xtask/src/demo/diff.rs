//! Formats a pod as YAML, and the difference of two pods: all lines, with additions in green and
//! removals in red. Without a terminal or with `NO_COLOR`, the output has no colours.

use anyhow::Result;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::progress::{BAD, GOOD};

/// Formats a document as YAML, with sorted keys like kubectl, and with long values on one line.
pub(super) fn yaml(document: &Value) -> Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(document, options)?)
}

/// Returns all lines of both texts, with `+` and `-` at the differences.
pub(super) fn coloured(before: &str, after: &str) -> String {
    let diff = TextDiff::from_lines(before, after);
    let lines = diff.iter_all_changes().map(|change| {
        let line = change.value().trim_end_matches('\n');
        match change.tag() {
            ChangeTag::Equal => format!("  {line}\n"),
            ChangeTag::Insert => format!("{GOOD}+ {line}{GOOD:#}\n"),
            ChangeTag::Delete => format!("{BAD}- {line}{BAD:#}\n"),
        }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use serde_json::json;

    use super::*;

    #[test]
    fn marks_added_and_removed_lines() {
        let before = yaml(&json!({ "kind": "Pod", "spec": { "old": 1, "same": ["x"] } })).unwrap();
        let after = yaml(&json!({ "kind": "Pod", "spec": { "same": ["x"], "new": "true" } })).unwrap();
        assert_eq!(
            strip_str(&coloured(&before, &after)).to_string(),
            "  kind: Pod\n  spec:\n-   old: 1\n+   new: \"true\"\n    same:\n    - x\n"
        );
    }
}
