//! curl, which sends the request of the demo. Most machines have it. On Debian 12, the set-up
//! installs it; on other systems, its absence is an error with instructions.

use anyhow::{Context, Result};

use super::{cache, debian};
use crate::job;
use crate::progress::Progress;

/// Finds curl or installs it.
pub(super) fn ensure() -> Result<()> {
    if job::on_path("curl").is_none() {
        debian::require_bookworm().context("the demo needs `curl`: install it")?;
        let mut progress = Progress::start(1, cache::folder()?.join("setup-curl.log"))?;
        debian::install(&mut progress, &["curl"])?;
    }
    Ok(())
}
