//! All tests of the workspace, including the end-to-end tests against a real API server, and one
//! summary at the end. The end-to-end tests find their programs by `AMPOULE_ETCD`,
//! `AMPOULE_KUBE_APISERVER`, `AMPOULE_HAPROXY`, `AMPOULE_SDKS`, `AMPOULE_LANGUAGES`, `AMPOULE_AXE`,
//! `AMPOULE_RENDERERS`, `AMPOULE_PROMETHEUS`, `AMPOULE_PROMTOOL`, `AMPOULE_REGISTRY`,
//! `AMPOULE_TYPOS`, `AMPOULE_MOTO` and `AMPOULE_BIN`, set here.

mod output;
mod summary;

use std::process::{Command, ExitCode};
use std::slice;
use std::time::Instant;

use anyhow::Result;
use serde_json::Value;

use self::summary::Summary;
use crate::progress::{BAD, Elapsed, GOOD};
use crate::setup::{self, Everything};
use crate::workspace::{self, Build};

/// Test targets that use programs from set-up. All others need only the WebAssembly target.
const WITH_PROGRAMS: [&str; 2] = ["e2e", "tidy"];

/// A part of the tests that continuous integration runs as a job of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Tests that need no other program.
    Unit,
    /// Tests that use an API server, a load balancer, a registry or another installed program.
    #[value(name = "e2e")]
    E2e,
}

/// Runs the tests whose name contains the filter, or all; `only` limits them to one part.
pub(crate) fn run(filter: Option<&str>, only: Option<Part>) -> Result<ExitCode> {
    if only == Some(Part::Unit) {
        setup::ensure_wasm()?;
        return summarise(&mut unit_commands(&workspace::metadata()?, filter));
    }
    let everything = setup::ensure_everything()?;
    let mut command = command(&everything, filter)?;
    if only == Some(Part::E2e) {
        command.args(WITH_PROGRAMS.iter().flat_map(|target| ["--test", *target]));
    }
    run_and_summarise(&mut command)
}

/// The unit tests and, because cargo runs them only on their own, the documentation tests.
///
/// Both name the whole workspace: with fewer packages, cargo would choose other features and
/// compile dependencies again.
fn unit_commands(metadata: &Value, filter: Option<&str>) -> [Command; 2] {
    let test = || {
        let mut command = workspace::cargo();
        command.args(["test", "--workspace", "--no-fail-fast"]);
        command
    };
    let (mut units, mut docs) = (test(), test());
    units.args(["--lib", "--bins"]);
    units.args(unit_targets(metadata).iter().flat_map(|target| ["--test", *target]));
    docs.arg("--doc");
    [&mut units, &mut docs].into_iter().for_each(|command| {
        command.args(filter);
    });
    [units, docs]
}

/// Names of all integration test targets of the workspace except those in [`WITH_PROGRAMS`].
fn unit_targets(metadata: &Value) -> Vec<&str> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let tests = targets.filter(|target| target["kind"][0] == "test");
    let mut names: Vec<&str> = tests.filter_map(|target| target["name"].as_str()).collect();
    names.retain(|name| !WITH_PROGRAMS.contains(name));
    names.sort_unstable();
    names
}

/// `cargo test` as this project runs it: everything is built before, as a step of progress, and the
/// programs are named.
pub(crate) fn command(everything: &Everything, filter: Option<&str>) -> Result<Command> {
    let server = workspace::build(Build::Tests)?;
    let mut command = workspace::cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).args(filter);
    let Everything { api_server, haproxy, sdks, languages, axe, renderers, prometheus, registry, typos, moto } =
        everything;
    command.env("AMPOULE_ETCD", &api_server.etcd.path).env("AMPOULE_KUBE_APISERVER", &api_server.kube_apiserver.path);
    command
        .env("AMPOULE_HAPROXY", &haproxy.path)
        .env("AMPOULE_SDKS", &sdks.folder)
        .env("AMPOULE_LANGUAGES", &languages.folder)
        .env("AMPOULE_AXE", axe)
        .env("AMPOULE_RENDERERS", &renderers.folder)
        .env("AMPOULE_PROMETHEUS", &prometheus.server.path)
        .env("AMPOULE_PROMTOOL", &prometheus.promtool.path)
        .env("AMPOULE_REGISTRY", &registry.path)
        .env("AMPOULE_TYPOS", typos)
        .env("AMPOULE_MOTO", moto)
        .env("AMPOULE_BIN", server);
    Ok(command)
}

/// Runs the command, forwards its output, and summarises the results of the test runner.
///
/// Failed tests are not an error but the exit code. No test at all fails as well: a typing error in
/// a filter must not look like a success.
pub(crate) fn run_and_summarise(command: &mut Command) -> Result<ExitCode> {
    summarise(slice::from_mut(command))
}

/// The same for several commands, with one summary. All of them run even when one fails.
fn summarise(commands: &mut [Command]) -> Result<ExitCode> {
    let begun = Instant::now();
    let mut summary = Summary::default();
    let mut success = true;
    for command in commands {
        let status = output::stream(command, |line| {
            anstream::println!("{line}");
            summary.read(line);
        })?;
        success &= status.success();
    }
    summary.end(success);
    anstream::println!();
    for name in &summary.failures {
        anstream::println!("{BAD}failed{BAD:#} {name}");
    }
    if summary.passed + summary.failed == 0 {
        anstream::println!("{BAD}no test ran{BAD:#}");
    }
    for version in &summary.api_servers {
        anstream::println!("API server: Kubernetes {version}");
    }
    for node in &summary.nodes {
        anstream::println!("pods of {node}");
    }
    for what in &summary.not_run {
        anstream::println!("{BAD}did not run{BAD:#} {what}");
    }
    let style = if summary.is_good() { GOOD } else { BAD };
    anstream::println!("in {}", Elapsed(begun.elapsed()));
    anstream::println!(
        "{style}{} passed, {} failed, {} skipped, {} parts not run{style:#}",
        summary.passed,
        summary.failed,
        summary.skipped,
        summary.not_run.len()
    );
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> String {
        command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_test_target_belongs_to_one_part() {
        let metadata = workspace::metadata().unwrap();
        let unit = unit_targets(&metadata);
        for target in ["core", "parity", "sandbox"] {
            assert!(unit.contains(&target), "{unit:?} lacks {target}");
        }
        assert!(WITH_PROGRAMS.iter().all(|target| !unit.contains(target)), "{unit:?}");
        let path = workspace::root().join("tests");
        assert!(WITH_PROGRAMS.iter().all(|target| path.join(target).with_extension("rs").is_file()));
    }

    #[test]
    fn unit_tests_and_documentation_tests_get_the_filter() {
        let metadata = serde_json::json!({ "packages": [{ "targets": [
            { "kind": ["lib"], "name": "a" },
            { "kind": ["test"], "name": "e2e" },
            { "kind": ["test"], "name": "parity" },
        ] }] });
        let [units, docs] = unit_commands(&metadata, Some("name"));
        assert_eq!(words(&units), "test --workspace --no-fail-fast --lib --bins --test parity name");
        assert_eq!(words(&docs), "test --workspace --no-fail-fast --doc name");
    }
}
