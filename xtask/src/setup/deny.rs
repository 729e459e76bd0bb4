//! cargo-deny, which checks licences, sources and versions of all crates: one pinned version from
//! crates.io, in the cache folder. A version on `PATH` is not used: another version may know other
//! keys in `deny.toml`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cache;
use crate::job;
use crate::progress::Progress;
use crate::workspace;

// renovate: crate=cargo-deny
const VERSION: &str = "0.20.2";
/// Two minutes on two idle processors; a shared machine takes longer.
const INSTALL_MAX: Duration = Duration::from_secs(20 * 60);

/// Finds the pinned version, or compiles it.
pub(super) fn ensure() -> Result<PathBuf> {
    let root = cache::folder()?.join(format!("cargo-deny-{VERSION}"));
    let program = root.join("bin/cargo-deny");
    if job::is_executable(&program) {
        return Ok(program);
    }
    let _lock = cache::lock()?;
    // Another set-up may have installed it while this one waited for the lock.
    if !job::is_executable(&program) {
        let work = tempfile::tempdir_in(cache::folder()?)?;
        let mut cargo = workspace::cargo();
        // A debug build compiles faster, and checks this workspace in seconds.
        cargo.args(["install", "--locked", "--debug", "--root"]).arg(&root).arg("--target-dir").arg(work.path());
        cargo.arg(format!("cargo-deny@{VERSION}"));
        let mut progress = Progress::start(1, cache::folder()?.join("setup-cargo-deny.log"))?;
        progress
            .step(&format!("install cargo-deny {VERSION} from crates.io"), |log| log.run(&mut cargo, INSTALL_MAX))
            .context("licences and sources are checked by cargo-deny, which cannot be installed")?;
    }
    Ok(program)
}
