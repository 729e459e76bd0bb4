//! Valgrind, which counts instructions.
//! On Debian 12 it is installed, elsewhere its absence is an error that says so.

use anyhow::{Context, Result};

use super::{cache, debian};
use crate::job;
use crate::progress::Progress;

/// Finds valgrind or installs it, and says where it is.
pub(super) fn ensure() -> Result<String> {
    if job::on_path("valgrind").is_none() {
        debian::require_bookworm().context("instructions are counted by `valgrind`: install it")?;
        let mut progress = Progress::start(1, cache::folder()?.join("setup-valgrind.log"))?;
        debian::install(&mut progress, &["valgrind", "libc6-dbg"])?;
    }
    Ok(job::on_path("valgrind").context("there is no `valgrind` in PATH")?.display().to_string())
}
