//! A Python, and virtual environments of packages that are pinned by version and hash.
//! What is installed is what was pinned, or the set-up ends there: an author's tools are somebody else's code.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{cache, debian};
use crate::job::{self, Log};
use crate::progress::Progress;
use crate::workspace;

/// Where a Python that the pins are for may be. The last is Debian's, for machines whose `python3` is another.
const PYTHONS: [&str; 4] = ["python3", "python3.12", "python3.11", "/usr/bin/python3"];
/// Fails where the packages are pinned for another Python, and where Debian has left out the modules that make an environment.
const SUITABLE: &str = "import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))";
/// To start Python on a busy machine.
const START_MAX: Duration = Duration::from_secs(20);
/// A minute usually.
pub(super) const INSTALL_MAX: Duration = Duration::from_secs(15 * 60);

/// A Python that can make an environment; installed on Debian 12 if there is none.
pub(super) fn find() -> Result<PathBuf> {
    if let Some(python) = suitable() {
        return Ok(python);
    }
    debian::require_bookworm()
        .context("the tests need Python 3.11 or 3.12 with its modules `venv` and `ensurepip`: install it")?;
    let mut progress = Progress::start(1, cache::folder()?.join("setup-python.log"))?;
    debian::install(&mut progress, &["python3-venv"])?;
    suitable().context("python3-venv is installed, and no `python3` here can make a virtual environment with it")
}

fn suitable() -> Option<PathBuf> {
    let mut found = PYTHONS.iter().filter_map(|name| job::on_path(name));
    found.find(|python| starts(Command::new(python).args(["-c", SUITABLE])))
}

/// Whether a program still runs: the Python that an environment was made with may be gone.
pub(super) fn starts(command: &mut Command) -> bool {
    job::output(command, START_MAX).is_some()
}

/// Makes an environment.
pub(super) fn environment(python: &Path, folder: &Path, log: &Log) -> Result<()> {
    log.run(Command::new(python).args(["-m", "venv"]).arg(folder), INSTALL_MAX)
}

/// The Python of an environment, for arguments to come.
pub(super) fn of(environment: &Path) -> Command {
    Command::new(environment.join("bin/python"))
}

/// A command of an environment's pip. Wheels alone, each by its hash: no script of a package runs, and no compiler is needed.
pub(super) fn pip(environment: &Path, command: &str, pins: &str) -> Command {
    let mut pip = of(environment);
    pip.args(["-m", "pip", command, "--disable-pip-version-check", "--no-input", "--require-hashes"]);
    pip.args(["--only-binary", ":all:", "--requirement"]).arg(workspace::root().join(pins));
    pip
}
