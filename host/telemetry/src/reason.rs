//! Errors as a single line: [`one_line`].
//!
//! Parser errors span several lines, and repeat text from registries, ConfigMaps and plugins.

use ampoule_core::text;

/// Maximum length in bytes. Longer than every message of this program; the readiness page, Events
/// and refusals of pods show the line.
const LONGEST: usize = 1024;

/// Formats an error and its causes as one line, without control characters.
pub fn one_line(error: &anyhow::Error) -> String {
    text::one_line(&format!("{error:#}"), LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_any_error_on_one_line_within_the_limit() {
        let error = anyhow::anyhow!("line 1\n  line 2 \u{1b}[31mred {}", "x".repeat(5000)).context("it is broken");
        let line = one_line(&error);
        assert!(line.starts_with("it is broken: line 1 line 2  [31mred xxx") && line.ends_with("x…"), "{line}");
        assert_eq!(line.len(), LONGEST);
    }
}
