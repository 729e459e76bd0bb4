//! Prometheus, and the promtool that comes with it: those that are installed, else unpacked from Debian's package. The package is not
//! installed: it would start a service.

use anyhow::Result;

use super::program::{self, Program};
use super::{cache, debian};
use crate::job::Log;

const PROMETHEUS: &str = "prometheus";
const PROMTOOL: &str = "promtool";

/// What asks the queries of the dashboard, and what reads rules and metrics.
pub(crate) struct Prometheus {
    pub(crate) server: Program,
    pub(crate) promtool: Program,
}

/// Finds both programs, or fetches them.
pub(super) fn ensure() -> Result<Prometheus> {
    let ensure = |name| program::ensure(name, "install Prometheus 2.42 or later", fetch);
    Ok(Prometheus { server: ensure(PROMETHEUS)?, promtool: ensure(PROMTOOL)? })
}

fn fetch(log: &Log) -> Result<()> {
    let work = tempfile::tempdir_in(cache::folder()?)?;
    let apt = debian::apt::PrivateApt::prepare(work.path().join("apt"), log)?;
    apt.unpack_package(PROMETHEUS, &work.path().join("package"), log)?;
    [PROMTOOL, PROMETHEUS]
        .iter()
        .try_for_each(|name| cache::install(&work.path().join("package/usr/bin").join(name), name).map(drop))
}
