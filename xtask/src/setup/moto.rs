//! A server with the API of AWS Secrets Manager (`moto` from PyPI), in a virtual environment in the
//! cache folder, pinned by version and hash. `tests/e2e/stores.rs` runs it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::cache;
use super::pinned::PinnedFolder;
use super::python::{self, INSTALL_MAX};
use crate::job;
use crate::progress::Progress;

const REQUIREMENTS: &str = "tests/stores/requirements.txt";

/// Finds the environment, or makes it.
pub(super) fn ensure() -> Result<PathBuf> {
    let works = |folder: &Path| job::is_executable(&folder.join("bin/moto_server"));
    PinnedFolder::of("moto", &[REQUIREMENTS])?.ensure(works, make)
}

fn make(folder: &Path) -> Result<()> {
    let python = python::find()?;
    let mut progress = Progress::start(2, cache::folder()?.join("setup-moto.log"))?;
    progress.step("make a virtual environment", |log| python::environment(&python, folder, log))?;
    progress
        .step("pip install moto (25 MB)", |log| log.run(&mut python::pip(folder, "install", REQUIREMENTS), INSTALL_MAX))
}
