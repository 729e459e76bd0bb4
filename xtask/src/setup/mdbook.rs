//! mdbook, which builds the book in `docs/`: a pinned version from crates.io, in the cache folder.
//! A version on `PATH` is not used: another version may render the book differently.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cache;
use crate::job;
use crate::progress::Progress;
use crate::workspace;

const VERSION: &str = "0.5.4";
/// Two minutes on two processors; a machine that shares them takes longer.
const INSTALL_MAX: Duration = Duration::from_secs(20 * 60);

/// Finds the pinned version, or compiles it.
pub(super) fn ensure() -> Result<PathBuf> {
    let root = cache::folder()?.join(format!("mdbook-{VERSION}"));
    let program = root.join("bin/mdbook");
    if job::is_executable(&program) {
        return Ok(program);
    }
    let _lock = cache::lock()?;
    // Another set-up may have installed it while this one waited for the lock.
    if !job::is_executable(&program) {
        let work = tempfile::tempdir_in(cache::folder()?)?;
        let mut cargo = workspace::cargo();
        // The web server and the file watcher are most of its dependencies, and unused here. A
        // debug build compiles faster, and renders this book in a second.
        cargo.args(["install", "--locked", "--debug", "--no-default-features", "--features", "search"]);
        cargo.arg("--root").arg(&root).arg("--target-dir").arg(work.path()).arg(format!("mdbook@{VERSION}"));
        let mut progress = Progress::start(1, cache::folder()?.join("setup-mdbook.log"))?;
        progress
            .step(&format!("install mdbook {VERSION} from crates.io"), |log| log.run(&mut cargo, INSTALL_MAX))
            .context("the book is built by mdbook, which cannot be installed")?;
    }
    Ok(program)
}
