//! Names that Kubernetes accepts: of Secrets, of their keys, and of volumes.
//!
//! With another name, the API server refuses the pod in its own words, or the pod waits for a
//! Secret that cannot exist.

use ampoule_plugin_sdk::InjectionError;

/// Maximum length of a DNS label (RFC 1123); Kubernetes requires the name of a volume to be one.
pub(crate) const LABEL_MAX: usize = 63;
/// Bytes of the name of a Secret, and of a key.
const MAX_NAME: usize = 253;
/// Characters of a name in a message.
const MAX_SHOWN: usize = 64;

/// Checks the group of a request: a DNS subdomain (RFC 1123).
pub(crate) fn check_secret(name: &str) -> Result<(), InjectionError> {
    if name.is_empty() {
        return Err(InjectionError::invalid_request("group is empty: it is the name of the Secret"));
    }
    if name.len() <= MAX_NAME && name.split('.').all(is_subdomain_part) {
        return Ok(());
    }
    Err(InjectionError::invalid_request(format!(
        "group {}: Kubernetes accepts no Secret of this name; use at most {MAX_NAME} of a-z, 0-9, - and ., with a \
         letter or digit at both ends",
        shown(name)
    )))
}

pub(crate) fn check_key(key: &str) -> Result<(), InjectionError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_valid = (1..=MAX_NAME).contains(&key.len()) && key.bytes().all(is_allowed);
    if is_valid && key != "." && !key.starts_with("..") {
        return Ok(());
    }
    Err(InjectionError::invalid_request(format!(
        "key {}: Kubernetes accepts no such key in a Secret; use 1 to {MAX_NAME} letters, digits, -, _ and ., and not \
         .. first",
        shown(key)
    )))
}

/// A part between the dots. Only the whole name has a maximum length.
fn is_subdomain_part(part: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !part.is_empty() && part.bytes().all(is_allowed) && !part.starts_with('-') && !part.ends_with('-')
}

fn shown(name: &str) -> String {
    let mut start: String = name.chars().take(MAX_SHOWN).collect();
    if start.len() < name.len() {
        start.push('…');
    }
    format!("{start:?}")
}

/// Flyte's name for the volume of a group and its version, or our own name if Flyte's is too long
/// for Kubernetes.
pub(crate) fn volume_name(group: &str, version: &str) -> String {
    let id = [group, "_", version].concat();
    // Flyte's alphabet is a-z and 1-6 instead of A-Z and 2-7 (RFC 4648).
    let to_flyte_alphabet = |c: u8| if c.is_ascii_digit() { c - 1 } else { c.to_ascii_lowercase() };
    let name: String =
        data_encoding::BASE32_NOPAD.encode(id.as_bytes()).bytes().map(|c| char::from(to_flyte_alphabet(c))).collect();
    if name.len() <= LABEL_MAX { name } else { format!("secret-{:x}", md5::compute(id)) }
}
