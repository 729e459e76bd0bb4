//! A pod as YAML, and the difference of two of them: every line, those that came in green, those that went in red.
//! The colours leave by themselves where nobody sees them (`NO_COLOR`, a file, a pipe).

use anyhow::Result;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::progress::{BAD, GOOD};

/// The document as YAML, its keys by name as kubectl prints them, a long value on one line.
pub(super) fn yaml(document: &Value) -> Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(document, options)?)
}

/// All lines of both texts, marked `+` and `-` where they differ.
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
    fn marks_the_lines_that_came_and_went() {
        let before = yaml(&json!({ "kind": "Pod", "spec": { "old": 1, "same": ["x"] } })).unwrap();
        let after = yaml(&json!({ "kind": "Pod", "spec": { "same": ["x"], "new": "true" } })).unwrap();
        assert_eq!(
            strip_str(&coloured(&before, &after)).to_string(),
            "  kind: Pod\n  spec:\n-   old: 1\n+   new: \"true\"\n    same:\n    - x\n"
        );
    }
}
