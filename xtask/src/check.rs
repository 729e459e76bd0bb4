//! Format, lints, documentation and dependencies, each with warnings as errors, each command shown
//! before it runs. All checks run even when one fails, so that a pull request shows every problem
//! at once.
//!
//! Advisories are the exception: they are reported and do not fail. A new advisory must not break
//! an unrelated change, and the database is not reachable from every machine. Without it the
//! summary states that nothing was checked.

mod package;

use std::fmt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use anyhow::Result;

use crate::job;
use crate::progress::{BAD, Elapsed, GOOD, STRONG};
use crate::setup;
use crate::workspace;

/// The workspace and the fuzz crate, which has a lock file of its own.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "tests/fuzz/Cargo.toml"];
/// The advisory database is a git repository of a few megabytes.
const FETCH_MAX: Duration = Duration::from_secs(60);
/// Style of a check that did not run.
const UNCHECKED: Style = AnsiColor::Yellow.on_default().bold();

/// The result of one check.
enum Verdict {
    Good,
    Failed,
    /// Problems that are reported and do not fail the command.
    Reported,
    NotChecked(&'static str),
}

/// One line of the summary.
struct Line {
    name: String,
    verdict: Verdict,
    elapsed: Duration,
}

/// Runs the checks and prints a summary.
pub(crate) fn run() -> Result<ExitCode> {
    // The lints compile the crate that embeds the built-in plugins, which needs the WebAssembly
    // target.
    setup::ensure(setup::Scope::Wasm)?;
    let cargo_deny = setup::ensure_cargo_deny()?;
    let mut lines = Vec::new();
    for (name, command) in cargo_commands() {
        lines.push(check(name, command)?);
    }
    lines.push(check_package()?);
    for manifest in MANIFESTS {
        let name = format!("dependencies of {manifest}");
        lines.push(check(&name, deny(&cargo_deny, manifest, &["check", "licenses", "bans", "sources"]))?);
    }
    lines.extend(advisories(&cargo_deny)?);
    anstream::println!();
    lines.iter().for_each(|line| anstream::println!("{line}"));
    let good = lines.iter().all(|line| !matches!(line.verdict, Verdict::Failed));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(name: &str, command: Command) -> Result<Line> {
    let (success, elapsed) = run_shown(command)?;
    Ok(Line { name: name.to_owned(), verdict: if success { Verdict::Good } else { Verdict::Failed }, elapsed })
}

/// Checks the package of the SDK.
fn check_package() -> Result<Line> {
    let mut line = check("package of the Rust SDK", package::verify())?;
    if let Err(error) = package::check_files() {
        anstream::eprintln!("{BAD}{error:#}{BAD:#}");
        line.verdict = Verdict::Failed;
    }
    Ok(line)
}

/// Shows the command, runs it, and returns whether it succeeded.
fn run_shown(mut command: Command) -> Result<(bool, Duration)> {
    anstream::eprintln!("\n{STRONG}{}{STRONG:#}", job::shown(&command));
    let begun = Instant::now();
    let status = job::spawn(command.stdin(Stdio::null()))?.wait()?;
    Ok((status.success(), begun.elapsed()))
}

fn cargo_commands() -> [(&'static str, Command); 3] {
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

/// A call of cargo-deny for one manifest. `--locked`: the check must not change a lock file.
fn deny(program: &Path, manifest: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    let root = workspace::root();
    command.args(["--workspace", "--locked", "--config"]).arg(root.join("deny.toml"));
    command.arg("--manifest-path").arg(root.join(manifest)).args(words).current_dir(root);
    // git must fail without access to the database, not ask for a password.
    command.env("GIT_TERMINAL_PROMPT", "0");
    command
}

/// Compares the crates with the advisory database, if it can be fetched.
fn advisories(program: &Path) -> Result<Vec<Line>> {
    let mut fetch = deny(program, MANIFESTS[0], &["fetch", "db"]);
    anstream::eprintln!("\n{STRONG}{}{STRONG:#}", job::shown(&fetch));
    let begun = Instant::now();
    if job::output(&mut fetch, FETCH_MAX).is_none() {
        let verdict = Verdict::NotChecked("the advisory database cannot be fetched");
        return Ok(vec![Line { name: "advisories".to_owned(), verdict, elapsed: begun.elapsed() }]);
    }
    let report = |manifest: &str| {
        let command = deny(program, manifest, &["check", "--disable-fetch", "advisories"]);
        let (success, elapsed) = run_shown(command)?;
        let verdict = if success { Verdict::Good } else { Verdict::Reported };
        Ok(Line { name: format!("advisories for {manifest}"), verdict, elapsed })
    };
    MANIFESTS.into_iter().map(report).collect()
}

// === impl Line ===

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<38} ", self.name)?;
        match self.verdict {
            Verdict::Good => write!(f, "{GOOD}ok{GOOD:#}")?,
            Verdict::Failed => write!(f, "{BAD}FAILED{BAD:#}")?,
            Verdict::Reported => write!(f, "{UNCHECKED}REPORTED{UNCHECKED:#} (does not fail; see above)")?,
            Verdict::NotChecked(reason) => write!(f, "{UNCHECKED}NOT CHECKED{UNCHECKED:#}: {reason}")?,
        }
        write!(f, " {}", Elapsed(self.elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(verdict: Verdict) -> String {
        let line = Line { name: "advisories".to_owned(), verdict, elapsed: Duration::from_secs(12) };
        anstream::adapter::strip_str(&line.to_string()).to_string()
    }

    #[test]
    fn a_check_that_did_not_run_is_not_shown_as_passed() {
        assert_eq!(shown(Verdict::Good).split_whitespace().collect::<Vec<_>>(), ["advisories", "ok", "12s"]);
        let line = shown(Verdict::NotChecked("the advisory database cannot be fetched"));
        assert!(line.ends_with("NOT CHECKED: the advisory database cannot be fetched 12s"), "{line}");
        assert!(!line.contains("ok"), "{line}");
    }

    #[test]
    fn cargo_deny_reads_the_rules_of_the_root_for_every_manifest() {
        for manifest in MANIFESTS {
            assert!(workspace::root().join(manifest).is_file(), "{manifest}");
            let command = deny(Path::new("cargo-deny"), manifest, &["check"]);
            let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
            assert!(words.contains(&workspace::root().join("deny.toml").display().to_string()), "{words:?}");
            assert!(words.contains(&"--locked".to_owned()), "{words:?}");
        }
    }
}
