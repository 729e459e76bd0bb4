//! Runs the benchmarks of `tests/bench`, each a program of its own, and makes one report of what they leave in `target/bench`: tables as
//! Markdown, plots as SVG, and the figures as JSON for programs.
//!
//! The quick mode is good to see that they run, too rough to publish.

mod machine;
mod plot;
mod report;

use std::path::Path;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::job;
use crate::progress::{FAINT, STRONG};
use crate::setup;
use crate::workspace::{self, Build};

/// The programs, in the order of the report.
const PARTS: [&str; 4] = ["calls", "fairness", "tls", "life"];
/// What is run only where it is asked for: ten minutes of load.
const SOAK: &str = "soak";
/// Whose benchmarks have names of their own.
const NAMED: &str = "calls";

/// How sure the figures are to be.
#[derive(Clone, Copy)]
pub(crate) enum Samples {
    /// As many as are worth publishing: a quarter of an hour.
    Full,
    /// As few as show that everything runs.
    Quick,
}

/// Runs the parts whose name contains the filter; if there is none, the benchmarks in process whose name does.
pub(crate) fn run(samples: Samples, filter: Option<&str>) -> Result<ExitCode> {
    setup::ensure(setup::Scope::Wasm)?;
    let server = workspace::build(Build::Release)?;
    let folder = workspace::target_folder()?.join("bench");
    remove(&folder)?;
    let mut parts: Vec<_> = PARTS.into_iter().filter(|part| part.contains(filter.unwrap_or_default())).collect();
    let within = filter.filter(|filter| parts.is_empty() && *filter != SOAK);
    if parts.is_empty() {
        parts.push(if filter == Some(SOAK) { SOAK } else { NAMED });
    }
    for part in &parts {
        anstream::eprintln!("\n{STRONG}{part}{STRONG:#}");
        if !run_part(part, samples, within, &server)? {
            return Ok(ExitCode::FAILURE);
        }
    }
    let report = report::write(&folder, &parts, samples)?;
    anstream::println!("\n{FAINT}the report is in{FAINT:#} {}", report.display());
    Ok(ExitCode::SUCCESS)
}

fn run_part(part: &str, samples: Samples, within: Option<&str>, server: &Path) -> Result<bool> {
    let mut command = workspace::cargo();
    // The features of the whole workspace, as everywhere: no crate is built twice.
    command.args(["bench", "--workspace", "--bench", part, "--"]).env("AMPOULE_BIN", server);
    if let Samples::Quick = samples {
        command.arg("--quick");
    }
    command.args(within);
    Ok(job::spawn(command.stdin(Stdio::null()))?.wait()?.success())
}

/// What an earlier run left would be taken for this one's.
fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
