//! A C++ compiler to build libFuzzer, which the crate `libfuzzer-sys` contains as source. On Debian
//! 12, the set-up installs it; on other systems, its absence is an error with instructions.

use anyhow::{Context, Result};

use super::{cache, debian};
use crate::job;
use crate::progress::Progress;

/// Finds or installs the compiler, and returns its path.
pub(super) fn ensure() -> Result<String> {
    if job::on_path("c++").is_none() {
        debian::require_bookworm().context("libFuzzer needs `c++`: install it")?;
        let mut progress = Progress::start(1, cache::folder()?.join("setup-cxx.log"))?;
        debian::install(&mut progress, &["g++"])?;
    }
    Ok(job::on_path("c++").context("`c++` is not on the PATH")?.display().to_string())
}
