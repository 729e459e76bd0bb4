//! Programs from crates.io, compiled in one pinned version into the cache folder.
//!
//! A version on `PATH` is not used: another version may behave differently.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cache;
use crate::job;
use crate::progress::Progress;
use crate::workspace;

/// Two minutes on two idle processors; a shared machine takes longer.
const INSTALL_MAX: Duration = Duration::from_secs(20 * 60);

/// A program to install.
pub(super) struct CargoTool {
    /// The name of the crate and of its program.
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// Further arguments of `cargo install`.
    pub(super) arguments: &'static [&'static str],
    /// The purpose, for the error if it cannot be installed.
    pub(super) purpose: &'static str,
}

// === impl CargoTool ===

impl CargoTool {
    /// Finds the pinned version, or compiles it. A debug build compiles faster.
    pub(super) fn ensure(&self) -> Result<PathBuf> {
        let (name, version) = (self.name, self.version);
        let root = cache::folder()?.join(format!("{name}-{version}"));
        let program = root.join("bin").join(name);
        if job::is_executable(&program) {
            return Ok(program);
        }
        let _lock = cache::lock()?;
        // Another set-up may have installed it while this one waited for the lock.
        if !job::is_executable(&program) {
            let work = tempfile::tempdir_in(cache::folder()?)?;
            let mut cargo = workspace::cargo();
            cargo.args(["install", "--locked", "--debug"]).args(self.arguments).arg("--root").arg(&root);
            cargo.arg("--target-dir").arg(work.path()).arg(format!("{name}@{version}"));
            let mut progress = Progress::start(1, cache::folder()?.join(format!("setup-{name}.log")))?;
            progress
                .step(&format!("install {name} {version} from crates.io"), |log| log.run(&mut cargo, INSTALL_MAX))
                .with_context(|| format!("{name} cannot be installed; it {}", self.purpose))?;
        }
        Ok(program)
    }
}
