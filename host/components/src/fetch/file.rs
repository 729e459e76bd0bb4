//! A component in a file, and the signature in a file beside it.
//!
//! Neither is read further than its limit.

use std::{io::ErrorKind, path::Path};

use super::error::FetchErrorKind;
use ampoule_net::file;

/// Minisign's has 300 bytes, cosign's a hundred.
pub const LARGEST_SIGNATURE: usize = 16 << 10;

/// All of a file.
pub(super) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FetchErrorKind> {
    read_as("it", path, limit)
}

/// The signature in `PATH.KIND`, with that file's name; none if there is no such file.
pub(super) fn beside(path: &Path, kind: &str) -> Result<(String, Option<Vec<u8>>), FetchErrorKind> {
    let path = path.with_added_extension(kind);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match read_as(&name, &path, LARGEST_SIGNATURE) {
        Ok(bytes) => Ok((name, Some(bytes))),
        Err(FetchErrorKind::File { error, .. }) if error.kind() == ErrorKind::NotFound => Ok((name, None)),
        // Whatever it is, it is no signature.
        Err(FetchErrorKind::TooLarge { .. }) => Ok((name, Some(Vec::new()))),
        Err(error) => Err(error),
    }
}

/// The same, by a name for messages.
fn read_as(what: &str, path: &Path, limit: usize) -> Result<Vec<u8>, FetchErrorKind> {
    file::read(path, limit).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => FetchErrorKind::TooLarge { limit },
        _ => FetchErrorKind::File { what: what.to_owned(), error },
    })
}
