//! Coloured output: only on a terminal, and only if the user did not disable it.
//!
//! `NO_COLOR` (no-color.org) disables it for the log and for every command.

use std::io::IsTerminal;

/// Whether a stream gets colour: it is a terminal, and `NO_COLOR` is unset or empty.
pub fn wanted(stream: &impl IsTerminal) -> bool {
    #[expect(clippy::disallowed_methods, reason = "NO_COLOR is defined as an environment variable")]
    let refused = std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty());
    !refused && stream.is_terminal()
}
