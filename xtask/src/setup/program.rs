//! A program that the set-up found or created: [`Program`], the search order, and the fallback.
//!
//! The set-up uses an installed program unchanged, and puts its own programs into the cache
//! folder's `bin`.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{cache, debian};
use crate::job::{self, Log};
use crate::progress::Progress;

/// Debian's folder for administration programs, which is not on the PATH of all users.
const ADMIN: &str = "/usr/sbin";

/// A program and its origin.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(super) place: &'static str,
}

/// Searches `PATH`, then `/usr/sbin`, then the cache folder.
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

/// Finds a program, or fetches it into the cache folder. `advice` is for machines where that is not
/// possible.
pub(super) fn ensure(name: &str, advice: &str, fetch: impl FnOnce(&Log) -> Result<()>) -> Result<Program> {
    if let Some(found) = find(name)? {
        return Ok(found);
    }
    debian::require_bookworm().with_context(|| format!("{name} is missing: {advice}"))?;
    let _lock = cache::lock()?;
    // Another set-up may have fetched it while this one waited for the lock.
    if find(name)?.is_none() {
        let mut progress = Progress::start(1, cache::folder()?.join(format!("setup-{name}.log")))?;
        progress.step(&format!("fetch {name}"), fetch)?;
    }
    find(name)?.with_context(|| format!("{name} is missing after its download"))
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.place)
    }
}
