//! A program that set-up found or made: [`Program`], and where it looks first.
//!
//! What is on `PATH` is taken as it is; what set-up makes goes into the cache folder's `bin`.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;

use super::cache;
use crate::job;

/// A program and how it came to be there.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(super) place: &'static str,
}

/// Looks on `PATH`, then in the cache folder.
pub(super) fn find(name: &str) -> Result<Option<Program>> {
    if let Some(path) = job::on_path(name) {
        return Ok(Some(Program { path, place: "PATH" }));
    }
    let cached = Some(cache::folder()?.join("bin").join(name)).filter(|path| job::is_executable(path));
    Ok(cached.map(|path| Program { path, place: "made from Debian's packages" }))
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.place)
    }
}
