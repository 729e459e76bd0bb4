//! Where the checkout is, and cargo called inside it.
//! What is built is asked from cargo itself, as JSON messages: a user may have moved the target folder.

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

/// `cargo tree` fetches the crates if they are not there yet, about 100 MB.
const TREE_MAX: Duration = Duration::from_secs(10 * 60);

/// What to build beside the server. Always with the features of the whole workspace, so that no crate is built twice.
#[derive(Clone, Copy)]
pub(crate) enum Build {
    /// The server alone.
    Server,
    /// The server as it is released.
    Release,
    /// Everything that `cargo test` runs, too.
    Tests,
}

/// The root of the checkout. `cargo run` says where this package is; the place of its compilation is the fallback.
pub(crate) fn root() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
}

/// `cargo`, the very one that runs us, called in the root of the checkout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// What cargo knows of the packages of this workspace.
pub(crate) fn metadata() -> Result<Value> {
    let metadata = job::output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]), TREE_MAX);
    serde_json::from_str(&metadata.context("`cargo metadata` failed")?).context("cargo's metadata is not JSON")
}

/// Where cargo builds to.
pub(crate) fn target_folder() -> Result<PathBuf> {
    Ok(metadata()?["target_directory"].as_str().context("cargo names no target folder")?.into())
}

/// Builds, as one step of progress, and gives the path of the server's binary. The compiler's errors are shown whole,
/// everything else that it says is in the log.
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
        log.judge(&command, status)
    });
    messages.errors.iter().for_each(|error| anstream::eprint!("{error}"));
    result?;
    messages.server.context("cargo built no binary `ampoule`")
}

/// How many packages there are to build; without an answer the progress does without it.
fn count_crates(what: Build) -> Option<usize> {
    let mut tree = cargo();
    tree.args(["tree", "--prefix", "none", "--format", "{p}"]);
    match what {
        Build::Server | Build::Release => tree.args(["--package", "ampoule", "--edges", "normal,build"]),
        Build::Tests => tree.args(["--workspace", "--edges", "normal,build,dev"]),
    };
    let tree = job::output(&mut tree, TREE_MAX)?;
    // A crate that stands there before is marked ` (*)`.
    let crates: HashSet<&str> = tree.lines().filter_map(|line| line.split(" (").next()).collect();
    Some(crates.len())
}

/// What cargo reported.
#[derive(Default)]
struct Messages {
    /// The packages that are built, or were already.
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
            self.see(&serde_json::from_str(&line?).context("cargo's message is not JSON")?);
            let ready = self.ready.len();
            // The tree is an estimate: a crate that is built for two sets of features is there once.
            let of_total = self.total.map_or_else(String::new, |total| format!(" of {}", total.max(ready)));
            *detail.lock().unwrap_or_else(PoisonError::into_inner) = format!("{ready}{of_total} crates");
        }
        Ok(())
    }

    /// The fields are described in the Cargo book, "External tools".
    fn see(&mut self, message: &Value) {
        match message["reason"].as_str() {
            Some("compiler-artifact") => {
                self.ready.extend(message["package_id"].as_str().map(str::to_owned));
                let is_server = message["target"]["name"] == "ampoule" && message["profile"]["test"] == false;
                if let Some(path) = message["executable"].as_str().filter(|_| is_server) {
                    self.server = Some(path.into());
                }
            }
            Some("compiler-message") if message["message"]["level"] == "error" => {
                // A crate and its tests are compiled apart, and both report the same.
                let rendered = message["message"]["rendered"].as_str().map(str::to_owned);
                self.errors.extend(rendered.filter(|error| !self.errors.contains(error)));
            }
            _ => {}
        }
    }
}
