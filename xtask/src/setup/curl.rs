//! curl, with which the demo sends its request: nearly every machine has it.
//! On Debian 12 it is installed, elsewhere its absence is an error that says so.

use anyhow::{Context, Result};

use super::{cache, debian};
use crate::job;
use crate::progress::Progress;

/// Finds curl or installs it.
pub(super) fn ensure() -> Result<()> {
    if job::on_path("curl").is_none() {
        debian::require_bookworm().context("the demo sends its request with `curl`: install it")?;
        let mut progress = Progress::start(1, cache::folder()?.join("setup-curl.log"))?;
        debian::install(&mut progress, &["curl"])?;
    }
    Ok(())
}
