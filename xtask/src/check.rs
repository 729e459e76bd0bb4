//! Format, lints and documentation, with warnings as errors. Each command is shown before it runs.
//! All three run even if one fails, so that a pull request shows all problems at once.

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::Result;

use crate::job;
use crate::progress::{BAD, Elapsed, GOOD, STRONG};
use crate::setup;
use crate::workspace;

/// Runs the checks, and prints the result of each.
pub(crate) fn run() -> Result<ExitCode> {
    // The lints include the crate that embeds the plugins, so they build the plugins.
    setup::ensure(setup::Scope::Wasm)?;
    let mut report = Vec::new();
    for (name, mut command) in commands() {
        anstream::eprintln!("\n{STRONG}{}{STRONG:#}", job::shown(&command));
        let begun = Instant::now();
        let status = job::spawn(command.stdin(Stdio::null()))?.wait()?;
        report.push((name, status.success(), Elapsed(begun.elapsed())));
    }
    anstream::println!();
    for (name, good, elapsed) in &report {
        let (style, word) = if *good { (GOOD, "ok") } else { (BAD, "FAILED") };
        anstream::println!("{name:<7} {style}{word}{style:#} {elapsed}");
    }
    Ok(if report.iter().all(|(_, good, _)| *good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn commands() -> [(&'static str, Command); 3] {
    let cargo = |words: &[&str]| {
        let mut command = workspace::cargo();
        command.args(words);
        command
    };
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    [
        ("format", cargo(&["fmt", "--all", "--check"])),
        ("lints", cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        ("docs", doc),
    ]
}
