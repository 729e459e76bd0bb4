//! Validation of names from requests before they become part of a pod: [`env_name`],
//! [`path_segment`], [`path_within`].
//!
//! The pod's author wrote the strings of a request. Each function returns a string that is
//! safe in its position, or an `invalid-request` that describes what to change.

use crate::InjectionError::{self, InvalidRequest};

/// Validates the name of an environment variable.
///
/// The rule is that of Kubernetes 1.32 and later, the most permissive one; older versions validate
/// the name themselves.
///
/// # Errors
///
/// The name is empty, or contains `=` or a character outside printable ASCII.
pub fn env_name(name: &str) -> Result<&str, InjectionError> {
    if !name.is_empty() && name.bytes().all(|c| matches!(c, b' '..=b'~') && c != b'=') {
        return Ok(name);
    }
    Err(InvalidRequest(format!("{name:?} cannot name an environment variable: use letters, digits and `_`")))
}

/// Validates one segment of a path in a volume or of a mount, and returns it in lower case. The
/// message contains `what`. For a URL, use `http::url_segment`.
///
/// # Errors
///
/// The name is not a file name, begins with `..`, or contains `:`, which Kubernetes does not allow
/// in a mount path.
pub fn path_segment(what: &str, name: &str) -> Result<String, InjectionError> {
    if !name.is_empty() && name != "." && !name.starts_with("..") && !name.contains(['/', ':', '\0']) {
        return Ok(name.to_ascii_lowercase());
    }
    Err(InvalidRequest(format!("{what} {name:?} cannot name a file: leave out `/`, `:` and leading `..`")))
}

/// Validates a relative path within a folder, and returns it without empty segments and without
/// `.`. The case is kept. The message contains `what`.
///
/// # Errors
///
/// The path leaves the folder, is the folder itself, or contains NUL.
pub fn path_within(what: &str, name: &str) -> Result<String, InjectionError> {
    let segments: Vec<_> = name.split('/').filter(|segment| !matches!(*segment, "" | ".")).collect();
    if segments.is_empty() || segments.contains(&"..") || name.contains('\0') {
        return Err(InvalidRequest(format!("{what} {name:?} cannot be part of a file's path: leave out `..`")));
    }
    Ok(segments.join("/"))
}
