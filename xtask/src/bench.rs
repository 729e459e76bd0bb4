//! Runs the benchmarks of `tests/bench`, each in a separate process, and combines their results in
//! `target/bench` into one report: tables in Markdown, plots in SVG, and the figures in JSON for
//! other programs.
//!
//! The quick mode verifies that the benchmarks run; its figures are not precise enough to publish.

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

/// The benchmark programs, in the order of the report.
const PARTS: [&str; 8] = ["calls", "values", "scale", "cpu", "fairness", "tls", "life", "pod"];
/// Ten minutes of load; runs only on request.
const SOAK: &str = "soak";
/// The program with individually named benchmarks.
const NAMED: &str = "calls";

/// The number of samples.
#[derive(Clone, Copy)]
pub(crate) enum Samples {
    /// Enough to publish the figures: about 15 minutes.
    Full,
    /// Enough to verify that everything runs.
    Quick,
}

/// Runs the parts with a name that contains the filter. If no part matches, the filter applies to
/// the names of the in-process benchmarks.
pub(crate) fn run(samples: Samples, filter: Option<&str>) -> Result<ExitCode> {
    setup::ensure(setup::Scope::Wasm)?;
    setup::ensure_api_server()?;
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
    // The features of the whole workspace, so that no crate is built twice.
    command.args(["bench", "--workspace", "--bench", part, "--"]).env("AMPOULE_BIN", server);
    if let Samples::Quick = samples {
        command.arg("--quick");
    }
    command.args(within);
    Ok(job::spawn(command.stdin(Stdio::null()))?.wait()?.success())
}

/// Removes the results of an earlier run, which would otherwise become part of this report.
fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
