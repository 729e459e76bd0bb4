//! The registry of the end-to-end tests: an installed `docker-registry`, otherwise unpacked from
//! Debian's package. The package is not installed, because it would start a service.

use anyhow::Result;

use super::program::{self, Program};
use super::{cache, debian};
use crate::job::Log;

const REGISTRY: &str = "docker-registry";

/// Finds or downloads the program.
pub(super) fn ensure() -> Result<Program> {
    program::ensure(REGISTRY, "install CNCF Distribution under Debian's name `docker-registry`", fetch)
}

fn fetch(log: &Log) -> Result<()> {
    let work = tempfile::tempdir_in(cache::folder()?)?;
    let apt = debian::apt::PrivateApt::prepare(work.path().join("apt"), log)?;
    apt.unpack_package(REGISTRY, &work.path().join("package"), log)?;
    cache::install(&work.path().join("package/usr/bin").join(REGISTRY), REGISTRY).map(drop)
}
