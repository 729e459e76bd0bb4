//! Reads `<folder>/<group>/<key>`, and nothing outside the folder.
//!
//! Group and key come from a pod. `cap-std` resolves them from the folder's handle and follows
//! links only within the folder: Kubernetes' own `..data` links work, `../../var/run/secrets` does
//! not.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use ampoule_core::{InjectionError, SecretValue};
use cap_std::{ambient_authority, fs::Dir};

/// Bytes of the largest file. A Kubernetes Secret holds at most 1 MiB.
const MAX_FILE: u64 = 1 << 20;

/// A folder with one file per secret.
pub(super) struct Files(PathBuf);

/// Why a file gives no value.
pub(super) enum FileError {
    /// The file does not exist.
    NotFound,
    /// The path leaves the folder.
    Outside,
    /// The file is not a regular file, or too large.
    NotASecret(&'static str),
    /// The operating system reports an error.
    Io(io::ErrorKind),
}

// === impl Files ===

impl Files {
    pub(super) fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// The path of the value, for messages.
    pub(super) fn path(&self, group: &str, key: &str) -> String {
        format!("{}/{group}/{key}", self.0.display())
    }

    /// The file's content, including a final newline.
    pub(super) fn read(&self, group: &str, key: &str) -> Result<SecretValue, FileError> {
        let folder = Dir::open_ambient_dir(&self.0, ambient_authority())?;
        let path = Path::new(group).join(key);
        // Opening a pipe or a device would block.
        let metadata = folder.metadata(&path)?;
        if !metadata.is_file() {
            return Err(FileError::NotASecret("is not a regular file"));
        }
        let mut bytes = Vec::new();
        folder.open(&path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        let small = u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_FILE);
        small.then(|| SecretValue::new(bytes)).ok_or(FileError::NotASecret("is larger than 1 MiB"))
    }
}

// === impl FileError ===

impl FileError {
    /// The answer for the pod's author, in the reference's words where it has some.
    pub(super) fn into_answer(self, variable: &str, path: &str) -> InjectionError {
        match self {
            Self::NotFound => InjectionError::NotFound(format!("secrets not found - Env [{variable}], file [{path}]")),
            Self::Outside => {
                InjectionError::InvalidRequest("group and key leave the folder of global secrets".to_owned())
            }
            Self::NotASecret(why) => InjectionError::Unsupported(format!("file [{path}] {why}")),
            Self::Io(kind) => InjectionError::Unavailable(format!("file [{path}] cannot be read: {kind}").into()),
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => Self::NotFound,
            // `cap-std` reports a path that leaves the folder by an error of its own, without a
            // system error code.
            io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => Self::Outside,
            kind => Self::Io(kind),
        }
    }
}
