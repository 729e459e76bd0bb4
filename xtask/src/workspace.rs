//! The checkout, and calls of cargo in it. The paths of built files come from cargo's JSON
//! messages, because a user may have moved the target folder.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::job;
use crate::progress::{Detail, Progress};
use crate::setup::cache;

/// `cargo tree` downloads missing crates, about 100 MB.
const TREE_MAX: Duration = Duration::from_secs(10 * 60);

/// What to build. The features are always those of the whole workspace, so that no crate is built
/// twice.
#[derive(Clone, Copy)]
pub(crate) enum Build {
    /// The server only.
    Server,
    /// The server with the release profile.
    Release,
    /// The server, and everything that `cargo test` runs.
    Tests,
}

/// Returns the root of the checkout. `cargo run` sets the path of this package; the fallback is the
/// path at compile time.
pub(crate) fn root() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
}

/// Creates a command for the cargo that runs this program, in the root of the checkout.
///
/// It gets none of the variables that `cargo run` sets about this package. Some build scripts, such
/// as that of `ring`, depend on them: with other values than those of a `cargo` in a shell, they
/// and the crates above them would be built again.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Returns cargo's metadata of the packages of this workspace.
pub(crate) fn metadata() -> Result<Value> {
    let metadata = job::output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]), TREE_MAX);
    serde_json::from_str(&metadata.context("`cargo metadata` failed")?).context("cargo's metadata is not JSON")
}

/// Returns cargo's target folder.
pub(crate) fn target_folder() -> Result<PathBuf> {
    Ok(metadata()?["target_directory"].as_str().context("cargo reported no target folder")?.into())
}

/// Builds with progress output, and returns the path of the server's binary. Compiler errors are
/// printed in full; all other output is in the log.
pub(crate) fn build(what: Build) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--workspace", "--message-format", "json"]);
    let label = match what {
        Build::Server => {
            command.args(["--bin", "ampoule"]);
            "build the server"
        }
        Build::Release => {
            command.args(["--release", "--bin", "ampoule"]);
            "build the server for release"
        }
        Build::Tests => {
            command.args(["--lib", "--bins", "--tests", "--examples"]);
            "build the server and the tests"
        }
    };
    let mut messages = Messages::default();
    let mut progress = Progress::start(1, cache::folder()?.join("build.log"))?;
    let result = progress.step_with_detail(label, |log, detail| {
        messages.total = count_crates(what);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.append()?);
        let mut child = job::spawn(&mut command)?;
        messages.read(&mut child, detail)?;
        let status = child.wait()?;
        log.check_status(&command, status)
    });
    messages.errors.iter().for_each(|error| anstream::eprint!("{error}"));
    result?;
    messages.server.context("cargo built no binary `ampoule`")
}

/// Returns the number of packages to build for the progress output, if cargo reports it.
fn count_crates(what: Build) -> Option<usize> {
    let mut tree = cargo();
    tree.args(["tree", "--prefix", "none", "--format", "{p}"]);
    match what {
        Build::Server | Build::Release => tree.args(["--package", "ampoule", "--edges", "normal,build"]),
        Build::Tests => tree.args(["--workspace", "--edges", "normal,build,dev"]),
    };
    let tree = job::output(&mut tree, TREE_MAX)?;
    // The suffix ` (*)` marks repeated crates.
    let crates: HashSet<&str> = tree.lines().filter_map(|line| line.split(" (").next()).collect();
    Some(crates.len())
}

/// The messages of cargo.
#[derive(Default)]
struct Messages {
    /// The packages that are up to date.
    ready: HashSet<String>,
    total: Option<usize>,
    server: Option<PathBuf>,
    errors: Vec<String>,
}

// === impl Messages ===

impl Messages {
    fn read(&mut self, child: &mut Child, detail: &Detail) -> Result<()> {
        let stdout = child.stdout.take().context("cargo has no output")?;
        for line in BufReader::new(stdout).lines() {
            self.record(&serde_json::from_str(&line?).context("cargo's message is not JSON")?);
            let ready = self.ready.len();
            // The total is an estimate: it contains a crate once, even if cargo builds it for two
            // sets of features.
            let of_total = self.total.map_or_else(String::new, |total| format!(" of {}", total.max(ready)));
            *detail.lock().unwrap_or_else(PoisonError::into_inner) = format!("{ready}{of_total} crates");
        }
        Ok(())
    }

    /// Records a message. The Cargo book describes the fields in "External tools".
    fn record(&mut self, message: &Value) {
        match message["reason"].as_str() {
            Some("compiler-artifact") => {
                self.ready.extend(message["package_id"].as_str().map(str::to_owned));
                let is_server = message["target"]["name"] == "ampoule" && message["profile"]["test"] == false;
                if let Some(path) = message["executable"].as_str().filter(|_| is_server) {
                    self.server = Some(path.into());
                }
            }
            Some("compiler-message") if message["message"]["level"] == "error" => {
                // Cargo compiles a crate and its tests separately, and both report the same error.
                let rendered = message["message"]["rendered"].as_str().map(str::to_owned);
                self.errors.extend(rendered.filter(|error| !self.errors.contains(error)));
            }
            _ => {}
        }
    }
}
