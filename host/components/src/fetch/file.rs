//! A component in a file, and its signature in a file beside it.
//!
//! Both are read within their limits.

use std::{io::ErrorKind, path::Path};

use super::error::FetchErrorKind;
use ampoule_net::file;

/// Limit in bytes for a signature. Those of minisign have 300 bytes, those of cosign 100.
pub const LARGEST_SIGNATURE: usize = 16 << 10;

/// Returns the content of a component file.
pub(super) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FetchErrorKind> {
    read_as("the component", path, limit)
}

/// Returns the name and content of the signature file `PATH.EXTENSION`; `None` if the file does not
/// exist.
pub(super) fn beside(path: &Path, extension: &str) -> Result<(String, Option<Vec<u8>>), FetchErrorKind> {
    let path = path.with_added_extension(extension);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match read_as(&name, &path, LARGEST_SIGNATURE) {
        Ok(bytes) => Ok((name, Some(bytes))),
        Err(FetchErrorKind::File { error, .. }) if error.kind() == ErrorKind::NotFound => Ok((name, None)),
        // Too large for a signature: verification fails.
        Err(FetchErrorKind::TooLarge { .. }) => Ok((name, Some(Vec::new()))),
        Err(error) => Err(error),
    }
}

/// Reads a file that messages call `what`.
fn read_as(what: &str, path: &Path, limit: usize) -> Result<Vec<u8>, FetchErrorKind> {
    file::read(path, limit).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => FetchErrorKind::TooLarge { limit },
        _ => FetchErrorKind::File { what: what.to_owned(), error },
    })
}
