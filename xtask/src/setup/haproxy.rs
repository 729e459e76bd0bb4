//! haproxy, the load balancer of the end-to-end tests: from `PATH` or Debian's place for it, else from Debian's package, unpacked into
//! the cache folder. It is not installed: the package would start a service.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{cache, debian};
use crate::job::{self, Log};
use crate::progress::Progress;

const HAPROXY: &str = "haproxy";
/// Where Debian installs it, which is on an administrator's path only.
const INSTALLED: &str = "/usr/sbin/haproxy";
/// The program and its libraries, beside the script that starts it.
const FILES: &str = "haproxy.d";
/// The libraries that a small Debian has no other use for.
const LIBRARIES: [&str; 4] = ["liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1", "libssl3"];
/// The program looks for its libraries where this says. Whoever starts the script gets the program, under the same process id.
const SCRIPT: &str = r#"#!/bin/sh
files=$(dirname "$0")/haproxy.d
LD_LIBRARY_PATH=$files exec "$files/haproxy" "$@"
"#;

/// The program and how it came to be there.
pub(crate) struct Haproxy {
    pub(crate) path: PathBuf,
    place: &'static str,
}

/// Finds the program, or fetches it.
pub(super) fn ensure() -> Result<Haproxy> {
    if let Some(found) = find()? {
        return Ok(found);
    }
    debian::require_bookworm().with_context(|| format!("no {HAPROXY} here: install it"))?;
    let _lock = cache::lock()?;
    // Another set-up may have fetched it while we waited for the lock.
    if find()?.is_none() {
        let mut progress = Progress::start(1, cache::folder()?.join("setup-haproxy.log"))?;
        progress.step("fetch haproxy", fetch)?;
    }
    find()?.with_context(|| format!("{HAPROXY} was fetched and is not there"))
}

fn find() -> Result<Option<Haproxy>> {
    if let Some(path) = job::on_path(HAPROXY) {
        return Ok(Some(Haproxy { path, place: "PATH" }));
    }
    let installed = PathBuf::from(INSTALLED);
    if job::is_executable(&installed) {
        return Ok(Some(Haproxy { path: installed, place: "installed" }));
    }
    let bin = cache::folder()?.join("bin");
    let is_whole = [bin.join(FILES).join(HAPROXY), bin.join(HAPROXY)].iter().all(|path| job::is_executable(path));
    Ok(is_whole.then(|| Haproxy { path: bin.join(HAPROXY), place: "from Debian's package" }))
}

fn fetch(log: &Log) -> Result<()> {
    let work = cache::folder()?.join("work-haproxy");
    remove(&work)?;
    let apt = debian::apt::PrivateApt::prepare(work.join("apt"), log)?;
    let root = work.join("root");
    for package in [HAPROXY].iter().chain(&LIBRARIES) {
        apt.unpack_package(package, &root, log)?;
    }
    let files = cache::folder()?.join("bin").join(FILES);
    remove(&files)?;
    fs::create_dir_all(&files)?;
    fs::copy(root.join("usr/sbin").join(HAPROXY), files.join(HAPROXY))?;
    // One folder per architecture.
    for folder in fs::read_dir(root.join("usr/lib"))? {
        copy_libraries(&folder?.path(), &files)?;
    }
    let script = work.join(HAPROXY);
    fs::write(&script, SCRIPT)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    // Last: without it the rest is not looked at.
    cache::install(&script, HAPROXY)?;
    remove(&work)
}

/// Under the names that programs ask for, of which some are links.
fn copy_libraries(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|name| name.to_string_lossy().contains(".so.") && path.is_file()) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot delete {}", folder.display()))?;
    }
    Ok(())
}

// === impl Haproxy ===

impl fmt::Display for Haproxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.place)
    }
}
