//! Reading `<folder>/<group>/<key>`, wherever group and key try to lead.
//!
//! Both come from a pod. The folder is opened first, and the rest is resolved from there by `cap-std`, which follows links
//! only as far as they stay inside: Kubernetes' own `..data` links do, `../../var/run/secrets` does not.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use ampoule_core::{InjectionError, SecretValue};
use cap_std::{ambient_authority, fs::Dir};

/// The largest file that is read. A Kubernetes Secret holds 1 MiB in all.
const LARGEST: u64 = 1 << 20;

/// A folder of secrets.
pub(super) struct Files(PathBuf);

/// Why there is no value.
pub(super) enum FileError {
    /// No such file.
    NotFound,
    /// The path leads out of the folder.
    Outside,
    /// No regular file, or too large.
    NotASecret(&'static str),
    /// The system says no.
    Io(io::ErrorKind),
}

// === impl Files ===

impl Files {
    pub(super) fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// Where the value would be, for messages.
    pub(super) fn path(&self, group: &str, key: &str) -> String {
        format!("{}/{group}/{key}", self.0.display())
    }

    /// The file's content as it is, no line end cut off.
    pub(super) fn read(&self, group: &str, key: &str) -> Result<SecretValue, FileError> {
        if [group, key].iter().any(|name| name.starts_with('/') || name.contains('\0')) {
            return Err(FileError::Outside);
        }
        let folder = Dir::open_ambient_dir(&self.0, ambient_authority())?;
        let path = Path::new(group).join(key);
        // A pipe or a device would block where it is opened.
        let metadata = folder.metadata(&path)?;
        if !metadata.is_file() {
            return Err(FileError::NotASecret("is no regular file"));
        }
        let mut bytes = Vec::new();
        folder.open(&path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        let small = u64::try_from(bytes.len()).is_ok_and(|length| length <= LARGEST);
        small.then(|| SecretValue::new(bytes)).ok_or(FileError::NotASecret("is larger than 1 MiB"))
    }
}

// === impl FileError ===

impl FileError {
    /// What the pod's author is told: the reference's words where it has some.
    pub(super) fn into_answer(self, variable: &str, path: &str) -> InjectionError {
        match self {
            Self::NotFound => InjectionError::NotFound(format!("secrets not found - Env [{variable}], file [{path}]")),
            Self::Outside => {
                InjectionError::InvalidRequest("group and key lead out of the folder of global secrets".to_owned())
            }
            Self::NotASecret(why) => InjectionError::Unsupported(format!("file [{path}] {why}")),
            Self::Io(kind) => InjectionError::Unavailable(format!("file [{path}] cannot be read: {kind}")),
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => Self::NotFound,
            // What `cap-std` says of a path that leaves the folder: its own error, not one of the system's.
            io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => Self::Outside,
            kind => Self::Io(kind),
        }
    }
}
