//! Why something does not work, as one line: [`one_line`].
//!
//! Parsers speak in several, and repeat what a registry, a ConfigMap or a plugin wrote.

use ampoule_core::text::clean;

/// Enough for every message of ours; the readiness page, Events and a pod's refusal show it.
const LONGEST: usize = 1024;

/// An error and its causes.
pub fn one_line(error: &anyhow::Error) -> String {
    let words = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
    clean(&words, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_to_one_line_and_to_a_length_whatever_somebody_wrote() {
        let error = anyhow::anyhow!("line 1\n  line 2 \u{1b}[31mred {}", "x".repeat(5000)).context("it is broken");
        let line = one_line(&error);
        assert!(line.starts_with("it is broken: line 1 line 2  [31mred xxx") && line.ends_with("x…"), "{line}");
        assert_eq!(line.len(), LONGEST);
    }
}
