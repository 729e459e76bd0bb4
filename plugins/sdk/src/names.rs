//! What a request names, checked before it becomes part of a pod: [`env_name`], [`path_segment`] and [`path_within`].
//!
//! A request's strings arrive as the pod's author wrote them; each function here gives back one that can do no harm in its
//! place, or the `invalid-request` that says what to change.

use crate::InjectionError::{self, InvalidRequest};

/// A name as Kubernetes 1.32 and later takes it, the widest rule there is; older ones say themselves what they refuse.
///
/// # Errors
///
/// It is empty, or has `=` or anything but printable ASCII in it.
pub fn env_name(name: &str) -> Result<&str, InjectionError> {
    if !name.is_empty() && name.bytes().all(|c| matches!(c, b' '..=b'~') && c != b'=') {
        return Ok(name);
    }
    Err(InvalidRequest(format!("{name:?} cannot name an environment variable: use letters, digits and `_`")))
}

/// A name in lower case, fit to be one segment of a volume's or a mount's path. `what` it is stands in the message.
///
/// # Errors
///
/// It is no file's name, begins with `..`, or has a `:`, which no mount path may have.
pub fn path_segment(what: &str, name: &str) -> Result<String, InjectionError> {
    if !name.is_empty() && name != "." && !name.starts_with("..") && !name.contains(['/', ':', '\0']) {
        return Ok(name.to_ascii_lowercase());
    }
    Err(InvalidRequest(format!("{what} {name:?} cannot name a file: leave out `/`, `:` and leading `..`")))
}

/// A relative path within a folder, of as many segments as the name has, without empty ones and `.`; its case is kept.
/// `what` it is stands in the message.
///
/// # Errors
///
/// It leaves the folder, is the folder itself, or has a NUL.
pub fn path_within(what: &str, name: &str) -> Result<String, InjectionError> {
    let segments: Vec<_> = name.split('/').filter(|segment| !matches!(*segment, "" | ".")).collect();
    if segments.is_empty() || segments.contains(&"..") || name.contains('\0') {
        return Err(InvalidRequest(format!("{what} {name:?} cannot be part of a file's path: leave out `..`")));
    }
    Ok(segments.join("/"))
}
