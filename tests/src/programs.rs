//! Where programs are that the tests run: named one by one, else on the path, else in the cache folder that `cargo xtask setup`
//! fills.
//!
//! They are never left out: without them the tests fail and say what to run.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// The program that the variable names, else the one on the path, else the one in the cache.
pub(crate) fn find(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = setting(variable) {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "{variable} is {}, which is no file", path.display());
        return Ok(path);
    }
    let on_path = setting("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&on_path).collect();
    // Debian's place for what an administrator runs, which is not on everybody's path.
    folders.push(PathBuf::from("/usr/sbin"));
    folders.extend(cache().map(|cache| cache.join("ampoule/bin")));
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("no {name} here: run `cargo xtask test`, which gets it"))
}

/// The same, where a folder may be named for several of them, as `setup-envtest` does; the variable of the one comes first.
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

/// Where caches are kept.
pub(crate) fn cache() -> Option<PathBuf> {
    let named = setting("XDG_CACHE_HOME").map(PathBuf::from);
    named.or_else(|| Some(std::env::home_dir()?.join(".cache")))
}

/// A variable that says something.
pub(crate) fn setting(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}
