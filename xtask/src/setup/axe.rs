//! The accessibility checker axe-core from npm, pinned by version and hash, in a folder of the
//! cache. The test of the console's pages runs it in the browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache;
use super::languages::Languages;
use super::pinned::PinnedFolder;
use super::python::INSTALL_MAX;
use crate::progress::Progress;
use crate::workspace;

const LOCK: &str = "tests/axe/package-lock.json";
const PACKAGE: &str = "tests/axe/package.json";

/// Finds the folder, or makes it with npm from the languages' tools.
pub(super) fn ensure(languages: &Languages) -> Result<PathBuf> {
    let works = |folder: &Path| folder.join("node_modules/axe-core/axe.min.js").is_file();
    PinnedFolder::of("axe", &[LOCK, PACKAGE])?.ensure(works, |folder| make(folder, languages))
}

fn make(folder: &Path, languages: &Languages) -> Result<()> {
    fs::create_dir_all(folder)?;
    for package in [LOCK, PACKAGE] {
        let package = workspace::root().join(package);
        let name = package.file_name().context("a package file has a name")?;
        fs::copy(&package, folder.join(name)).with_context(|| format!("cannot copy {}", package.display()))?;
    }
    let mut progress = Progress::start(1, cache::folder()?.join("setup-axe.log"))?;
    progress.step("npm ci axe-core", |log| {
        let mut npm = Command::new(languages.folder.join("bin/npm"));
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder);
        log.run(&mut npm, INSTALL_MAX)
    })
}
