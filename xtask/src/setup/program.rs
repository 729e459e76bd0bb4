//! A program that set-up found or made: [`Program`], where it looks first, and what it does where there is none.
//!
//! What is installed is taken as it is; what set-up makes goes into the cache folder's `bin`.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{cache, debian};
use crate::job::{self, Log};
use crate::progress::Progress;

/// Debian's place for what an administrator runs, which is not on everybody's path.
const ADMIN: &str = "/usr/sbin";

/// A program and how it came to be there.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(super) place: &'static str,
}

/// Looks on `PATH`, then in Debian's place, then in the cache folder.
pub(super) fn find(name: &str) -> Result<Option<Program>> {
    let installed = PathBuf::from(ADMIN).join(name);
    let cached = cache::folder()?.join("bin").join(name);
    let places = [
        (job::on_path(name), "PATH"),
        (Some(installed).filter(|path| job::is_executable(path)), "installed"),
        (Some(cached).filter(|path| job::is_executable(path)), "made from Debian's packages"),
    ];
    Ok(places.into_iter().find_map(|(path, place)| path.map(|path| Program { path, place })))
}

/// Finds a program, or has it put into the cache folder. `advice` is for a machine where that cannot be done.
pub(super) fn ensure(name: &str, advice: &str, fetch: impl FnOnce(&Log) -> Result<()>) -> Result<Program> {
    if let Some(found) = find(name)? {
        return Ok(found);
    }
    debian::require_bookworm().with_context(|| format!("no {name} here: {advice}"))?;
    let _lock = cache::lock()?;
    // Another set-up may have fetched it while we waited for the lock.
    if find(name)?.is_none() {
        let mut progress = Progress::start(1, cache::folder()?.join(format!("setup-{name}.log")))?;
        progress.step(&format!("fetch {name}"), fetch)?;
    }
    find(name)?.with_context(|| format!("{name} was fetched and is not there"))
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.place)
    }
}
