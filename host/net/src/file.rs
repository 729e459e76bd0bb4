//! Reads files that a configuration names: [`read`] never blocks, and never reads more than its
//! limit.
//!
//! The author of a configuration may have no rights on the machine. A pipe, a device or a file of
//! the kernel must not block the process or exhaust its memory.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::OFlags;

/// Limit in bytes for content that could also be in a ConfigMap or a Secret, which hold one
/// mebibyte.
pub const SMALL: usize = 1 << 20;

/// Returns the content of a regular file.
///
/// # Errors
///
/// The system's error; [`ErrorKind::FileTooLarge`] if the file has more than `limit` bytes, and
/// [`ErrorKind::InvalidInput`] if it is not a regular file.
pub fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    // Without this flag, opening a pipe blocks until its other end is open. It does not affect
    // regular files.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    if metadata.len() > limit as u64 {
        return Err(too_large(limit));
    }
    let mut bytes = Vec::new();
    // Files of the kernel report a length of 0.
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit { Err(too_large(limit)) } else { Ok(bytes) }
}

fn too_large(limit: usize) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("larger than {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn reads_regular_files_within_the_limit_and_never_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        fs::write(path("file"), "12345").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        fs::File::create(path("large")).unwrap().set_len(1 << 40).unwrap();
        let no_file = Err("not a regular file".to_owned());
        for (name, limit, expected) in [
            ("file", 5, Ok(b"12345".to_vec())),
            ("link", 5, Ok(b"12345".to_vec())),
            ("file", 4, Err("larger than 4 bytes".to_owned())),
            ("large", SMALL, Err("larger than 1048576 bytes".to_owned())),
            ("/proc/self/environ", 0, Err("larger than 0 bytes".to_owned())),
            ("/dev/zero", SMALL, no_file.clone()),
            ("folder", SMALL, no_file.clone()),
            ("pipe", SMALL, no_file),
            ("nothing", SMALL, Err("No such file or directory (os error 2)".to_owned())),
        ] {
            assert_eq!(read(&path(name), limit).map_err(|error| error.to_string()), expected, "{name}");
        }
    }
}
