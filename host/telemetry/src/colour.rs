//! Whether to write colour: only where a person looks, and only if that person did not say no.
//!
//! `NO_COLOR` (no-color.org) is the one setting that this program takes from its environment.

use std::io::IsTerminal;

/// Whether a stream gets colour: it is a terminal, and `NO_COLOR` is unset or empty.
pub fn wanted(stream: &impl IsTerminal) -> bool {
    #[expect(clippy::disallowed_methods, reason = "every program takes NO_COLOR from there")]
    let refused = std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty());
    !refused && stream.is_terminal()
}
