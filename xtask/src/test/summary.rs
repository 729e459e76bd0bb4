//! Summarises the output of the test runner: its `test result:` lines, the names of failed tests,
//! and targets that ended without a result because of a crash. Only the runner's own output counts.

use std::collections::BTreeSet;

use anstream::adapter::strip_str;

/// The prefixes of the lines in `tests/src/report.rs`. Another line may precede them.
const API_SERVER: &str = "API server: Kubernetes ";
const NOT_RUN: &str = "not run: ";
const PODS: &str = "pods: ";

/// The results up to the current line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Tests that passed.
    pub(super) passed: u32,
    /// Tests that failed, and targets that crashed.
    pub(super) failed: u32,
    /// Ignored tests.
    pub(super) skipped: u32,
    /// The names of failed tests, with their targets.
    pub(super) failures: Vec<String>,
    /// The versions of the API servers that tests used.
    pub(super) api_servers: BTreeSet<String>,
    /// Each test whose pods run on a node, with the node.
    pub(super) nodes: BTreeSet<String>,
    /// The parts of tests that the API server does not support.
    pub(super) not_run: BTreeSet<String>,
    target: Option<String>,
    runner_is_good: bool,
}

// === impl Summary ===

impl Summary {
    /// Reads one line of output.
    pub(super) fn read(&mut self, line: &str) {
        let line = strip_str(line).to_string();
        if let Some(target) = target_of(&line) {
            self.close_target();
            self.target = Some(target);
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
            self.skipped += count(result, "ignored");
            self.target = None;
        } else if let Some(version) = reported(&line, API_SERVER) {
            self.api_servers.insert(version.to_owned());
        } else if let Some(node) = reported(&line, PODS) {
            self.nodes.insert(node.to_owned());
        } else if let Some(what) = reported(&line, NOT_RUN) {
            self.not_run.insert(what.to_owned());
        } else if let Some(name) = failed_test(&line) {
            let target = self.target.as_deref().unwrap_or("a target");
            self.failures.push(format!("{name} ({target})"));
        }
    }

    /// Records the result of the runner itself. Call it once, after the last line.
    pub(super) fn end(&mut self, good: bool) {
        self.close_target();
        self.runner_is_good = good;
        if !good && self.failed == 0 {
            self.failed += 1;
            self.failures.push("the test runner itself; see the reason above".to_owned());
        }
    }

    /// Returns whether at least one test ran and all tests passed.
    pub(super) fn is_good(&self) -> bool {
        self.runner_is_good && self.failed == 0 && self.passed > 0
    }

    fn close_target(&mut self) {
        if let Some(target) = self.target.take() {
            self.failed += 1;
            self.failures.push(format!("{target} ended without a result"));
        }
    }
}

/// Parses `     Running unittests src/lib.rs (target/debug/deps/x-1)` or `   Doc-tests x`.
fn target_of(line: &str) -> Option<String> {
    let line = line.strip_prefix("   ")?.trim_start();
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("doc tests of {name}"));
    }
    let (source, binary) = line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once(" (")?;
    let name = binary.rsplit('/').next()?.rsplit_once('-')?.0;
    Some(format!("{name}, {}", source.trim_start_matches("unittests ")))
}

/// The rest of a line with this prefix. With one thread, the runner begins the line of a test
/// before the test runs.
fn reported<'a>(line: &'a str, prefix: &str) -> Option<&'a str> {
    let begun = || line.strip_prefix("test ")?.split_once(" ... ")?.1.strip_prefix(prefix);
    line.strip_prefix(prefix).or_else(begun)
}

/// Parses `test a::b ... FAILED`. The name may contain ` - should panic` or the location of a doc
/// test.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// Returns the number before a word in `ok. 3 passed; 0 failed; 1 ignored; …`.
fn count(result: &str, word: &str) -> u32 {
    let mut words = result.split([' ', ';', '.']).filter(|word| !word.is_empty());
    let mut before = "";
    words
        .find_map(|this| {
            if this == word {
                before.parse().ok()
            } else {
                before = this;
                None
            }
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
     Running unittests src/lib.rs (target/debug/deps/ampoule_core-0a)

running 2 tests
test a ... ok
test b ... ignored
test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests ampoule_core
running 3 tests
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";
    const FAILED: &str = "
\u{1b}[1m\u{1b}[32m     Running\u{1b}[0m tests/e2e.rs (target/debug/deps/e2e-0a)
test admits::a_pod ... FAILED
test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
    const CRASHED: &str = "
     Running unittests src/lib.rs (target/debug/deps/ampoule_engine-0a)
running 1 test
error: test failed, to rerun pass `-p ampoule-engine --lib`
     Running unittests src/lib.rs (target/debug/deps/ampoule_server-0a)
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    fn check(output: &str, runner_is_good: bool, counts: (u32, u32, u32), failures: &[&str]) {
        let mut summary = Summary::default();
        output.lines().for_each(|line| summary.read(line));
        summary.end(runner_is_good);
        assert_eq!((summary.passed, summary.failed, summary.skipped), counts);
        assert_eq!(summary.failures, failures);
        assert_eq!(summary.is_good(), counts.1 == 0 && counts.0 > 0);
    }

    #[test]
    fn sums_the_results_of_the_runner() {
        check(GOOD, true, (4, 0, 1), &[]);
        check(&format!("{GOOD}{FAILED}"), false, (8, 1, 1), &["admits::a_pod (e2e, tests/e2e.rs)"]);
    }

    #[test]
    fn lists_the_api_servers_and_the_tests_that_they_cannot_run() {
        let mut summary = Summary::default();
        let lines = [
            "API server: Kubernetes v1.20.2",
            "test a ... not run: kubectl debug (needs Kubernetes 1.25)",
            "not run: kubectl debug (needs Kubernetes 1.25)",
        ];
        lines.iter().for_each(|line| summary.read(line));
        assert_eq!(Vec::from_iter(summary.api_servers), ["v1.20.2"]);
        assert_eq!(Vec::from_iter(summary.not_run), ["kubectl debug (needs Kubernetes 1.25)"]);
    }

    #[test]
    fn lists_the_nodes_of_the_tests_with_pods() {
        let mut summary = Summary::default();
        for line in ["test a ... pods: a: kubelet v1.36.2, containerd v2.3.4", "pods: b: containers of runc"] {
            summary.read(line);
        }
        assert_eq!(Vec::from_iter(summary.nodes), ["a: kubelet v1.36.2, containerd v2.3.4", "b: containers of runc"]);
    }

    #[test]
    fn counts_a_target_that_crashed() {
        check(CRASHED, false, (2, 1, 0), &["ampoule_engine, src/lib.rs ended without a result"]);
    }

    #[test]
    fn a_failed_runner_is_always_a_failure() {
        check(GOOD, false, (4, 1, 1), &["the test runner itself; see the reason above"]);
        check("", false, (0, 1, 0), &["the test runner itself; see the reason above"]);
    }

    #[test]
    fn a_run_without_tests_is_a_failure() {
        check("", true, (0, 0, 0), &[]);
    }
}
