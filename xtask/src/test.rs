//! Runs all tests of the workspace, including the end-to-end tests with a real API server, and
//! prints a summary. It sets the variables with the paths of the programs for the end-to-end tests:
//! `AMPOULE_ETCD`, `AMPOULE_KUBE_APISERVER`, `AMPOULE_HAPROXY`, `AMPOULE_SDKS`,
//! `AMPOULE_LANGUAGES`, `AMPOULE_RENDERERS`, `AMPOULE_PROMETHEUS`, `AMPOULE_PROMTOOL`,
//! `AMPOULE_REGISTRY`, `AMPOULE_TYPOS` and `AMPOULE_BIN`.

mod output;
mod summary;

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Result;

use self::summary::Summary;
use crate::progress::{BAD, Elapsed, GOOD};
use crate::setup::{self, Everything};
use crate::workspace::{self, Build};

/// Runs the tests with a name that contains the filter, or all.
pub(crate) fn run(filter: Option<&str>) -> Result<ExitCode> {
    let everything = setup::ensure_everything()?;
    run_and_summarise(&mut command(&everything, filter)?)
}

/// Creates the `cargo test` command of this project, after building everything with progress
/// output.
pub(crate) fn command(everything: &Everything, filter: Option<&str>) -> Result<Command> {
    let server = workspace::build(Build::Tests)?;
    let mut command = workspace::cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).args(filter);
    let Everything { api_server, haproxy, sdks, languages, renderers, prometheus, registry, typos } = everything;
    command.env("AMPOULE_ETCD", &api_server.etcd.path).env("AMPOULE_KUBE_APISERVER", &api_server.kube_apiserver.path);
    command
        .env("AMPOULE_HAPROXY", &haproxy.path)
        .env("AMPOULE_SDKS", &sdks.folder)
        .env("AMPOULE_LANGUAGES", &languages.folder)
        .env("AMPOULE_RENDERERS", &renderers.folder)
        .env("AMPOULE_PROMETHEUS", &prometheus.server.path)
        .env("AMPOULE_PROMTOOL", &prometheus.promtool.path)
        .env("AMPOULE_REGISTRY", &registry.path)
        .env("AMPOULE_TYPOS", typos)
        .env("AMPOULE_BIN", server);
    Ok(command)
}

/// Runs the command, forwards its output, and summarises the results of the test runner.
///
/// Failed tests set the exit code and are not an error. So does a run without tests, because a
/// typing error in a filter must not look like success.
pub(crate) fn run_and_summarise(command: &mut Command) -> Result<ExitCode> {
    let begun = Instant::now();
    let mut summary = Summary::default();
    let status = output::stream(command, |line| {
        anstream::println!("{line}");
        summary.read(line);
    })?;
    summary.end(status.success());
    anstream::println!();
    for name in &summary.failures {
        anstream::println!("{BAD}failed{BAD:#} {name}");
    }
    if summary.passed + summary.failed == 0 {
        anstream::println!("{BAD}no test ran{BAD:#}");
    }
    let style = if summary.is_good() { GOOD } else { BAD };
    anstream::println!("in {}", Elapsed(begun.elapsed()));
    anstream::println!(
        "{style}{} passed, {} failed, {} skipped{style:#}",
        summary.passed,
        summary.failed,
        summary.skipped
    );
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
