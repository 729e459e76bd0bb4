//! The registry that the end-to-end tests push to and pull from: `docker-registry`, from `PATH`, else the cache folder, else unpacked
//! from Debian's package. The package is not installed: it would start a service.

use anyhow::{Context, Result};

use super::program::{self, Program};
use super::{cache, debian};
use crate::progress::Progress;

const REGISTRY: &str = "docker-registry";

/// Finds the program, or fetches it.
pub(super) fn ensure() -> Result<Program> {
    if let Some(program) = program::find(REGISTRY)? {
        return Ok(program);
    }
    debian::require_bookworm()
        .with_context(|| format!("no {REGISTRY} here: install CNCF Distribution under that name, as Debian has it"))?;
    let _lock = cache::lock()?;
    // Another set-up may have fetched it while we waited for the lock.
    if program::find(REGISTRY)?.is_none() {
        let mut progress = Progress::start(1, cache::folder()?.join("setup-registry.log"))?;
        let work = tempfile::tempdir_in(cache::folder()?)?;
        progress.step(&format!("fetch {REGISTRY}"), |log| {
            let apt = debian::apt::PrivateApt::prepare(work.path().join("apt"), log)?;
            apt.unpack_package(REGISTRY, &work.path().join("package"), log)?;
            cache::install(&work.path().join("package/usr/bin").join(REGISTRY), REGISTRY)
        })?;
    }
    program::find(REGISTRY)?.with_context(|| format!("{REGISTRY} was fetched and is not there"))
}
