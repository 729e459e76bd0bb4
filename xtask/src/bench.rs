//! Runs the benchmarks of `tests/bench` with criterion, which keeps its figures in the target folder and compares with the last run.
//! `--quick` is criterion's own quick mode: good to see that they run, too rough to publish.

use std::process::{ExitCode, Stdio};

use anyhow::Result;

use crate::job;
use crate::setup;
use crate::workspace;

/// How sure the figures are to be.
#[derive(Clone, Copy)]
pub(crate) enum Samples {
    /// Criterion's full sampling.
    Full,
    /// As few samples as criterion allows.
    Quick,
}

/// Runs the benchmarks whose name contains the filter.
pub(crate) fn run(samples: Samples, filter: Option<&str>) -> Result<ExitCode> {
    setup::ensure(setup::Scope::Wasm)?;
    let mut command = workspace::cargo();
    command.args(["bench", "--package", "ampoule-tests", "--bench", "*", "--"]);
    if let Samples::Quick = samples {
        command.arg("--quick");
    }
    command.args(filter);
    let status = job::spawn(command.stdin(Stdio::null()))?.wait()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
