//! haproxy, the load balancer of the end-to-end tests: the one that is installed, else unpacked from Debian's package, which is not
//! installed: it would start a service.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;

use super::program::{self, Program};
use super::{cache, debian};
use crate::job::Log;

const HAPROXY: &str = "haproxy";
/// The program and its libraries, beside the script that starts it.
const FILES: &str = "haproxy.d";
/// The libraries that a small Debian has no other use for.
const LIBRARIES: [&str; 4] = ["liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1", "libssl3"];
/// The program looks for its libraries where this says. Whoever starts the script gets the program, under the same process id.
const SCRIPT: &str = r#"#!/bin/sh
files=$(dirname "$0")/haproxy.d
LD_LIBRARY_PATH=$files exec "$files/haproxy" "$@"
"#;

/// Finds the program, or fetches it.
pub(super) fn ensure() -> Result<Program> {
    program::ensure(HAPROXY, "install it", fetch)
}

fn fetch(log: &Log) -> Result<()> {
    let work = tempfile::tempdir_in(cache::folder()?)?;
    let apt = debian::apt::PrivateApt::prepare(work.path().join("apt"), log)?;
    let root = work.path().join("root");
    for package in [HAPROXY].iter().chain(&LIBRARIES) {
        apt.unpack_package(package, &root, log)?;
    }
    let files = cache::folder()?.join("bin").join(FILES);
    fs::create_dir_all(&files)?;
    fs::copy(root.join("usr/sbin").join(HAPROXY), files.join(HAPROXY))?;
    // One folder per architecture.
    for folder in fs::read_dir(root.join("usr/lib"))? {
        copy_libraries(&folder?.path(), &files)?;
    }
    let script = work.path().join(HAPROXY);
    fs::write(&script, SCRIPT)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    // Last: without it the rest is not looked at.
    cache::install(&script, HAPROXY).map(drop)
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
