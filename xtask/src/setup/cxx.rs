//! A C++ compiler, with which libFuzzer is built: it comes as source in the crate `libfuzzer-sys`.
//! On Debian 12 it is installed, elsewhere its absence is an error that says so.

use anyhow::{Context, Result};

use super::{cache, debian};
use crate::job;
use crate::progress::Progress;

/// Finds the compiler or installs it, and says where it is.
pub(super) fn ensure() -> Result<String> {
    if job::on_path("c++").is_none() {
        debian::require_bookworm().context("libFuzzer is built with `c++`: install it")?;
        let mut progress = Progress::start(1, cache::folder()?.join("setup-cxx.log"))?;
        debian::install(&mut progress, &["g++"])?;
    }
    Ok(job::on_path("c++").context("there is no `c++` in PATH")?.display().to_string())
}
