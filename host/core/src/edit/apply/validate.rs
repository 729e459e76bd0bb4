//! Validates the names and paths of an edit, independent of the pod, with Kubernetes' rules.
//!
//! Only values that could do harm, or that would make the API server's own message unreadable, are
//! checked here. The API server checks the rest.

use super::ApplyError;
use crate::object_name::is_dns_label;

/// Checks the name of a volume or container.
pub(super) fn dns_label(what: &str, name: &str) -> Result<(), ApplyError> {
    require(is_dns_label(name), || format!("{what} name {name:?} must be a DNS label of at most 63 characters"))
}

/// Checks the name of an environment variable: printable ASCII without `=`, as in Kubernetes 1.34.
/// Older versions may reject more.
pub(crate) fn env_name(name: &str) -> Result<(), ApplyError> {
    let is_valid = !name.is_empty() && name.bytes().all(is_env_name_byte);
    require(is_valid, || format!("environment variable name {name:?} must be printable ASCII without '='"))
}

/// Checks the path of a mount in a container.
pub(super) fn mount_path(path: &str) -> Result<(), ApplyError> {
    let is_valid = path.starts_with('/') && !path.contains([':', '\0']) && has_no_parent(&path[1..]);
    require(is_valid, || format!("mount path {path:?} must be absolute and must not contain ':' or '..'"))
}

/// Checks a path within a volume.
pub(super) fn relative_path(what: &str, path: &str) -> Result<(), ApplyError> {
    let is_valid = !path.is_empty() && !path.starts_with('/') && !path.contains('\0') && has_no_parent(path);
    require(is_valid, || format!("{what} {path:?} must be relative and must not contain '..'"))
}

/// Fails with the message unless `condition` holds.
pub(super) fn require(condition: bool, message: impl FnOnce() -> String) -> Result<(), ApplyError> {
    if condition { Ok(()) } else { Err(ApplyError::Invalid(message())) }
}

fn is_env_name_byte(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && byte != b'='
}

fn has_no_parent(path: &str) -> bool {
    path.split('/').all(|part| part != "..")
}
