//! Valgrind, which counts the instructions for the budget. On Debian 12, the set-up installs it; on
//! other systems, its absence is an error with instructions.

use anyhow::{Context, Result};

use super::{cache, debian};
use crate::job;
use crate::progress::Progress;

/// Finds or installs valgrind, and returns its path.
pub(super) fn ensure() -> Result<String> {
    if job::on_path("valgrind").is_none() {
        debian::require_bookworm().context("the budget needs `valgrind`: install it")?;
        let mut progress = Progress::start(1, cache::folder()?.join("setup-valgrind.log"))?;
        debian::install(&mut progress, &["valgrind", "libc6-dbg"])?;
    }
    Ok(job::on_path("valgrind").context("`valgrind` is not on the PATH")?.display().to_string())
}
