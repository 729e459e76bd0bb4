//! Files that a configuration names: [`read`], which neither waits nor takes more than it was told to, whatever stands at the path.
//!
//! Who names one may be no admin of the machine: a pipe, a device or a file of the kernel's must not hold the process up or fill it.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::OFlags;

/// Bytes of a file that could as well stand in a ConfigMap or a Secret, which hold a mebibyte.
pub const SMALL: usize = 1 << 20;

/// All of a regular file.
///
/// # Errors
///
/// The system's; of the kind [`ErrorKind::FileTooLarge`] if it has more bytes than the limit.
pub fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(ErrorKind::FileTooLarge, format!("it has more than {limit} bytes"));
    // Whoever opens a pipe waits for its other end, unless he says that he does not. To a file it makes no difference.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    if metadata.len() > limit as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // Files of the kernel's say that they are empty.
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit { Err(too_large()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn reads_regular_files_within_the_limit_and_waits_for_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        fs::write(path("file"), "12345").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        fs::File::create(path("large")).unwrap().set_len(1 << 40).unwrap();
        let no_file = Err("it is no regular file".to_owned());
        for (name, limit, expected) in [
            ("file", 5, Ok(b"12345".to_vec())),
            ("link", 5, Ok(b"12345".to_vec())),
            ("file", 4, Err("it has more than 4 bytes".to_owned())),
            ("large", SMALL, Err("it has more than 1048576 bytes".to_owned())),
            ("/proc/self/environ", 0, Err("it has more than 0 bytes".to_owned())),
            ("/dev/zero", SMALL, no_file.clone()),
            ("folder", SMALL, no_file.clone()),
            ("pipe", SMALL, no_file),
            ("nothing", SMALL, Err("No such file or directory (os error 2)".to_owned())),
        ] {
            assert_eq!(read(&path(name), limit).map_err(|error| error.to_string()), expected, "{name}");
        }
    }
}
