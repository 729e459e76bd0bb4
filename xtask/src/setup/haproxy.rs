//! haproxy, the load balancer of the end-to-end tests: an installed one, otherwise unpacked from
//! Debian's package. The package is not installed, because it would start a service.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;

use super::program::{self, Program};
use super::{cache, debian};
use crate::job::Log;

const HAPROXY: &str = "haproxy";
/// The folder of the program and its libraries, next to the start script.
const FILES: &str = "haproxy.d";
/// Libraries that a minimal Debian does not include.
const LIBRARIES: [&str; 4] = ["liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1", "libssl3"];
/// Start script: sets the library path, and replaces itself with the program, so that the process
/// id stays the same.
const SCRIPT: &str = r#"#!/bin/sh
files=$(dirname "$0")/haproxy.d
LD_LIBRARY_PATH=$files exec "$files/haproxy" "$@"
"#;

/// Finds or downloads the program.
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
    // Last, because the other files are used only if the script exists.
    cache::install(&script, HAPROXY).map(drop)
}

/// Copies libraries under the names that programs load; some of them are links.
fn copy_libraries(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|name| name.to_string_lossy().contains(".so.") && path.is_file()) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
