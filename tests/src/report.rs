//! Lines for the summary of `cargo xtask test`: the versions of API servers, and the tests that did
//! not run.
//!
//! The test runner captures the output of macros only, so that these lines reach its reader.

use std::io::{Write as _, stderr};

/// Prints a line for the summary: one of its prefixes, and a text without line breaks.
pub(crate) fn report(prefix: &str, text: &str) {
    // A test must not fail because the report has no reader.
    let _ = stderr().write_all(format!("{prefix}{text}\n").as_bytes());
}
