//! Locates programs that the tests run: by an environment variable, or on the path, or in the cache
//! folder that `cargo xtask setup` fills.
//!
//! A missing program is an error that names the command to run; tests are never skipped.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// The program from the variable, or the path, or the cache.
pub(crate) fn find(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = setting(variable) {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "{variable} is {}, which is not a file", path.display());
        return Ok(path);
    }
    let on_path = setting("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&on_path).collect();
    // Debian's folder for an administrator's programs, which is not on every path.
    folders.push(PathBuf::from("/usr/sbin"));
    folders.extend(cache().map(|cache| cache.join("ampoule/bin")));
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("no {name} here: run `cargo xtask test`, which gets it"))
}

/// Like [`find`], with a variable for a folder of several programs, as `setup-envtest` uses; the
/// variable of the single program takes precedence.
pub(crate) fn find_among(folder: &str, name: &str, variable: &str) -> Result<PathBuf> {
    match setting(folder).filter(|_| setting(variable).is_none()) {
        Some(assets) => {
            let path = Path::new(&assets).join(name);
            ensure!(path.is_file(), "{folder} is {} and has no {name}", Path::new(&assets).display());
            Ok(path)
        }
        None => find(name, variable),
    }
}

/// The folder for caches.
pub(crate) fn cache() -> Option<PathBuf> {
    let named = setting("XDG_CACHE_HOME").map(PathBuf::from);
    named.or_else(|| Some(std::env::home_dir()?.join(".cache")))
}

/// A variable that is set and not empty.
pub(crate) fn setting(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}
