//! Lines for the summary of `cargo xtask test`: the versions of API servers, and the tests that did
//! not run.
//!
//! The test runner captures the output of macros only, so that these lines reach its reader.

use std::io::{Write as _, stderr};

/// The prefix of a line with the node of a test's pods.
pub(crate) const PODS: &str = "pods: ";
/// The prefixes of the lines.
const PREFIXES: [&str; 3] = ["API server: Kubernetes ", "not run: ", PODS];

/// Prints the lines again that a test printed in a process of its own. A node has the name of the
/// test.
pub(crate) fn repeat(errors: &str, test: &str) {
    for line in errors.lines().filter(|line| PREFIXES.iter().any(|prefix| line.starts_with(prefix))) {
        match line.strip_prefix(PODS) {
            Some(node) => report(PODS, &format!("{test}: {node}")),
            None => report("", line),
        }
    }
}

/// Prints a line for the summary: one of its prefixes, and a text without line breaks.
pub(crate) fn report(prefix: &str, text: &str) {
    // A test must not fail because the report has no reader.
    let _ = stderr().write_all(format!("{prefix}{text}\n").as_bytes());
}
