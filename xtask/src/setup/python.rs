//! Python, and virtual environments with packages that are pinned by version and hash.
//! Because packages are third-party code, the set-up fails if a package differs from its pin.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{cache, debian};
use crate::job::{self, Log};
use crate::progress::Progress;
use crate::workspace;

/// Candidates for a Python that the pins support. The last is Debian's, for machines with a
/// different `python3` on the PATH.
const PYTHONS: [&str; 4] = ["python3", "python3.12", "python3.11", "/usr/bin/python3"];
/// Fails if the pins do not support this version of Python, or if the modules for virtual
/// environments are missing, as in Debian's default installation.
const SUITABLE: &str = "import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))";
/// Time limit for starting Python on a busy machine.
const START_MAX: Duration = Duration::from_secs(20);
/// An installation usually takes a minute.
pub(super) const INSTALL_MAX: Duration = Duration::from_secs(15 * 60);

/// Finds a Python that can create a virtual environment. On Debian 12, installs it if necessary.
pub(super) fn find() -> Result<PathBuf> {
    if let Some(python) = suitable() {
        return Ok(python);
    }
    debian::require_bookworm()
        .context("the tests need Python 3.11 or 3.12 with its modules `venv` and `ensurepip`: install it")?;
    let mut progress = Progress::start(1, cache::folder()?.join("setup-python.log"))?;
    debian::install(&mut progress, &["python3-venv"])?;
    suitable()
        .context("python3-venv is installed, but no `python3` on this machine can create a virtual environment with it")
}

fn suitable() -> Option<PathBuf> {
    let mut found = PYTHONS.iter().filter_map(|name| job::on_path(name));
    found.find(|python| starts(Command::new(python).args(["-c", SUITABLE])))
}

/// Returns whether a program starts. The Python of a virtual environment may have been removed.
pub(super) fn starts(command: &mut Command) -> bool {
    job::output(command, START_MAX).is_some()
}

/// Creates a virtual environment.
pub(super) fn environment(python: &Path, folder: &Path, log: &Log) -> Result<()> {
    log.run(Command::new(python).args(["-m", "venv"]).arg(folder), INSTALL_MAX)
}

/// Creates a command for the Python of a virtual environment.
pub(super) fn of(environment: &Path) -> Command {
    Command::new(environment.join("bin/python"))
}

/// Creates a pip command of a virtual environment. It uses only wheels and verifies their hashes,
/// so no script of a package runs, and no compiler is necessary.
pub(super) fn pip(environment: &Path, command: &str, pins: &str) -> Command {
    let mut pip = of(environment);
    pip.args(["-m", "pip", command, "--disable-pip-version-check", "--no-input", "--require-hashes"]);
    pip.args(["--only-binary", ":all:", "--requirement"]).arg(workspace::root().join(pins));
    pip
}
