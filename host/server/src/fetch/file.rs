//! A component in a file, and the signature in a file beside it.
//!
//! Neither is read further than its limit.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use super::error::FetchErrorKind;

/// Minisign's has 300 bytes, cosign's a hundred.
pub(super) const LARGEST_SIGNATURE: usize = 16 << 10;

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
        Err(FetchErrorKind::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok((name, None)),
        // Whatever it is, it is no signature.
        Err(FetchErrorKind::TooLarge { .. }) => Ok((name, Some(Vec::new()))),
        Err(error) => Err(error),
    }
}

/// The same, by a name for messages.
fn read_as(what: &str, path: &Path, limit: usize) -> Result<Vec<u8>, FetchErrorKind> {
    let wrong = |error| FetchErrorKind::File { what: what.to_owned(), error };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes)).map_err(wrong)?;
    if bytes.len() > limit { Err(FetchErrorKind::TooLarge { limit }) } else { Ok(bytes) }
}
