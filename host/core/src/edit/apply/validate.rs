//! What an edit may say at all, whatever the pod: names and paths as Kubernetes takes them.
//!
//! Only what could do harm or would make the API server's own message unreadable is checked here; it judges the rest.

use super::ApplyError;

/// The longest DNS label (RFC 1123 section 2.1).
const DNS_LABEL: usize = 63;

/// A volume's or container's name.
pub(super) fn dns_label(what: &str, name: &str) -> Result<(), ApplyError> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = !name.is_empty()
        && name.len() <= DNS_LABEL
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    require(good, || format!("{what} name {name:?} must be a DNS label of {DNS_LABEL} characters at most"))
}

/// An environment variable's name: any printable ASCII but `=`, as Kubernetes 1.34 has it; older ones may say no.
pub(super) fn env_name(name: &str) -> Result<(), ApplyError> {
    let good = !name.is_empty() && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=');
    require(good, || format!("environment variable name {name:?} must be printable ASCII without '='"))
}

/// The place of a mount in a container.
pub(super) fn mount_path(path: &str) -> Result<(), ApplyError> {
    let good = path.starts_with('/') && !path.contains([':', '\0']) && stays_below(&path[1..]);
    require(good, || format!("mount path {path:?} must be absolute, without ':' and '..'"))
}

/// A path below a volume.
pub(super) fn relative_path(what: &str, path: &str) -> Result<(), ApplyError> {
    let good = !path.is_empty() && !path.starts_with('/') && !path.contains('\0') && stays_below(path);
    require(good, || format!("{what} {path:?} must be relative, without '..'"))
}

/// Fails with the message unless `good`.
pub(super) fn require(good: bool, message: impl FnOnce() -> String) -> Result<(), ApplyError> {
    if good { Ok(()) } else { Err(ApplyError::Invalid(message())) }
}

fn stays_below(path: &str) -> bool {
    path.split('/').all(|part| part != "..")
}
