//! The secret stores of the end-to-end tests: moto from PyPI, in a virtual environment in the cache
//! folder, pinned by version and hash.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::cache;
use super::pinned::PinnedFolder;
use super::python::{self, INSTALL_MAX};
use crate::progress::Progress;

const REQUIREMENTS: &str = "tests/stores/requirements.txt";

/// Finds the environment, or makes it.
pub(super) fn ensure() -> Result<PathBuf> {
    let works = |folder: &Path| python::starts(python::of(folder).args(["-I", "-c", "import moto"]));
    PinnedFolder::of("stores", &[REQUIREMENTS])?.ensure(works, make)
}

fn make(folder: &Path) -> Result<()> {
    let python = python::find()?;
    let mut progress = Progress::start(2, cache::folder()?.join("setup-stores.log"))?;
    progress.step("make a virtual environment", |log| python::environment(&python, folder, log))?;
    progress
        .step("pip install moto (60 MB)", |log| log.run(&mut python::pip(folder, "install", REQUIREMENTS), INSTALL_MAX))
}
