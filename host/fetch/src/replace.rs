//! [`replace`]: writes a file of the volume with the variables in one step.
//!
//! The kubelet reads the volume outside the container, so no file in it may be a link.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// The kubelet reads the files as root, and the containers of this program as their owner.
const MODE: u32 = 0o400;

/// Replaces a file, and returns whether it changed.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    if fs::read(path).is_ok_and(|current| current == bytes) {
        return Ok(false);
    }
    let temporary = path.with_extension("tmp");
    if let Err(error) = fs::remove_file(&temporary)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    fs::rename(&temporary, path).map(|()| true)
}
