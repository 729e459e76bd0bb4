//! Prometheus and promtool: installed ones, otherwise unpacked from Debian's package. The package
//! is not installed, because it would start a service.

use anyhow::Result;

use super::program::{self, Program};
use super::{cache, debian};
use crate::job::Log;

const PROMETHEUS: &str = "prometheus";
const PROMTOOL: &str = "promtool";

/// Prometheus, which runs the dashboard's queries, and promtool, which checks rules and metrics.
pub(crate) struct Prometheus {
    pub(crate) server: Program,
    pub(crate) promtool: Program,
}

/// Finds or downloads both programs.
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
