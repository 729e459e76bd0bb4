//! The registry that the end-to-end tests push to and pull from: `docker-registry`, else unpacked from Debian's package. The package is
//! not installed: it would start a service.

use anyhow::Result;

use super::program::{self, Program};
use super::{cache, debian};
use crate::job::Log;

const REGISTRY: &str = "docker-registry";

/// Finds the program, or fetches it.
pub(super) fn ensure() -> Result<Program> {
    program::ensure(REGISTRY, "install CNCF Distribution under that name, as Debian has it", fetch)
}

fn fetch(log: &Log) -> Result<()> {
    let work = tempfile::tempdir_in(cache::folder()?)?;
    let apt = debian::apt::PrivateApt::prepare(work.path().join("apt"), log)?;
    apt.unpack_package(REGISTRY, &work.path().join("package"), log)?;
    cache::install(&work.path().join("package/usr/bin").join(REGISTRY), REGISTRY).map(drop)
}
