//! Checks the fields of an entry that determine what the host does with an answer: [`options`].
//!
//! Names of containers and injectors are compared with those of the pod and of the configuration
//! later, by the mutator.

use std::collections::{BTreeMap, BTreeSet};

use super::{FieldError, SecretEntry, entry};
use crate::{
    edit::{EnvVar, SecretFile},
    request::{AllKeys, ContainerScope, RequestOptions},
    text,
};

/// Bytes of the name of a variable.
pub(super) const MAX_VARIABLE: usize = 256;
/// Bytes of a path. Linux accepts 4096.
pub(super) const MAX_PATH: usize = 1024;
/// Options for the plugin, and the bytes of a name and of a value. The contract names these limits.
pub(super) const MAX_OPTIONS: usize = 16;
const MAX_OPTION_NAME: usize = 64;
pub(super) const MAX_OPTION: usize = 1024;

/// Checks the fields, and returns the options of the request.
pub(super) fn options(entry: &SecretEntry) -> Result<RequestOptions, FieldError> {
    let is_file = entry.file || entry.path.is_some();
    let mode = entry.mode.as_deref().map(|mode| file_mode(mode, is_file)).transpose()?;
    Ok(RequestOptions {
        falls_back_to_file: falls_back_to_file(entry.fallback.as_deref(), is_file)?,
        path: entry.path.as_deref().map(|path| place(path, entry)).transpose()?,
        all_keys: all_keys(entry, is_file)?,
        template: None,
        mode,
        optional: entry.optional,
        containers: entry.containers.as_deref().map_or_else(|| Ok(ContainerScope::default()), containers)?,
        injector: entry.injector.as_deref().map(injector).transpose()?,
        replaces: None,
    })
}

/// Checks that Kubernetes accepts the name of a variable. API servers before 1.32 accept fewer.
pub(super) fn variable(name: &str) -> Result<(), FieldError> {
    if name.len() > MAX_VARIABLE {
        let reason = format!("must be at most {MAX_VARIABLE} bytes long, got {}", name.len());
        return Err(FieldError::in_field("env", reason));
    }
    let refuse = |_| {
        let name = text::quote(name.as_bytes());
        FieldError::in_field("env", format!("{name} must have printable ASCII characters other than = only"))
    };
    EnvVar::validate_name(name).map_err(refuse)
}

fn falls_back_to_file(fallback: Option<&str>, is_file: bool) -> Result<bool, FieldError> {
    let refuse = |reason: &str| Err(FieldError::in_field("fallback", reason));
    match fallback {
        None => Ok(false),
        Some("file") if is_file => refuse("has no effect on a file"),
        Some("file") => Ok(true),
        Some(_) => refuse("must be file"),
    }
}

/// Checks the fields of a request for every key of a group.
fn all_keys(entry: &SecretEntry, is_file: bool) -> Result<Option<AllKeys>, FieldError> {
    let refuse = |field: &str, reason: &str| Err(FieldError::in_field(field, reason));
    match entry.keys.as_deref() {
        None if entry.env_prefix.is_some() => return refuse("envPrefix", "has no effect without keys: all"),
        None => return Ok(None),
        Some("all") => {}
        Some(_) => return refuse("keys", &format!("must be {}", entry::KEYS)),
    }
    if !entry.key.is_empty() {
        return refuse("key", "has no effect with keys: all");
    }
    if entry.env.is_some() {
        return refuse("env", "cannot name all keys; set envPrefix");
    }
    if entry.fallback.is_some() {
        return refuse("fallback", "has no effect with keys: all");
    }
    match &entry.env_prefix {
        Some(_) if is_file => refuse("envPrefix", "has no effect on files"),
        None if is_file => Ok(Some(AllKeys::Files)),
        prefix => env_prefix(prefix.as_deref().unwrap_or_default()).map(|prefix| Some(AllKeys::Variables(prefix))),
    }
}

fn env_prefix(prefix: &str) -> Result<String, FieldError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let starts_with_digit = prefix.starts_with(|first: char| first.is_ascii_digit());
    if prefix.len() <= MAX_VARIABLE && prefix.bytes().all(is_allowed) && !starts_with_digit {
        return Ok(prefix.to_owned());
    }
    let reason = format!(
        "{} must have at most {MAX_VARIABLE} letters, digits, _, - and ., and no digit first",
        text::quote(prefix.as_bytes())
    );
    Err(FieldError::in_field("envPrefix", reason))
}

/// Checks the options for the plugin.
pub(super) fn plugin_options(options: &BTreeMap<String, String>) -> Result<(), FieldError> {
    if options.len() > MAX_OPTIONS {
        let reason = format!("must have at most {MAX_OPTIONS} entries, got {}", options.len());
        return Err(FieldError::in_field("options", reason));
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    for (name, value) in options {
        if name.is_empty() || name.len() > MAX_OPTION_NAME || !name.bytes().all(is_allowed) {
            let reason = format!(
                "{} must have 1 to {MAX_OPTION_NAME} letters, digits, _, - and .",
                text::quote(name.as_bytes())
            );
            return Err(FieldError::in_field("options", reason));
        }
        if value.len() > MAX_OPTION {
            let reason = format!("must be at most {MAX_OPTION} bytes long, got {}", value.len());
            return Err(FieldError::in_field(&format!("options.{name}"), reason));
        }
    }
    Ok(())
}

/// Returns the path of the file, or of the folder for all keys.
fn place(path: &str, entry: &SecretEntry) -> Result<String, FieldError> {
    if entry.keys.is_none() {
        return file_path(path, &entry.key);
    }
    let folder = path.trim_end_matches('/');
    // A file in the folder must be valid.
    file_path(&[folder, "/"].concat(), "key")?;
    Ok(folder.to_owned())
}

/// Returns the path of the file. A path with `/` at its end is the folder of a file that has the
/// name of the key.
fn file_path(path: &str, key: &str) -> Result<String, FieldError> {
    let refuse = |reason: String| FieldError::in_field("path", reason);
    if path.len() > MAX_PATH {
        return Err(refuse(format!("must be at most {MAX_PATH} bytes long, got {}", path.len())));
    }
    let full = if path.ends_with('/') { [path, key].concat() } else { path.to_owned() };
    SecretFile::validate(&full, None).map_err(|_| {
        refuse(format!(
            "{} must be the absolute path of a file in a folder, without :, .. and empty parts, such as /etc/app/token; \
             / at its end adds the key",
            text::quote(full.as_bytes())
        ))
    })?;
    Ok(full)
}

/// Reads the digits of a mode as `chmod` does. A right that the owner does not have is refused: it
/// is the sign of a decimal number, such as 256 for 0400.
fn file_mode(digits: &str, is_file: bool) -> Result<u32, FieldError> {
    let refuse = |reason: &str| Err(FieldError::in_field("mode", reason));
    if !is_file {
        return refuse("has no effect on a variable; set path or file: true");
    }
    let octal = digits.strip_prefix("0o").unwrap_or(digits);
    let is_octal = (3..=4).contains(&octal.len()) && octal.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = u32::from_str_radix(octal, 8).ok().filter(|_| is_octal);
    match mode {
        None => refuse("must be three or four octal digits, such as 0400"),
        Some(mode) if mode > 0o777 => refuse("must be at most 0777"),
        Some(mode) => {
            let [owner, group, others] = [mode >> 6, (mode >> 3) & 7, mode & 7];
            if owner & 4 == 0 || group & !owner != 0 || others & !group != 0 {
                return refuse(
                    "is read as octal: the owner must be able to read, the group must have no right that the owner \
                     does not have, and others none that the group does not have, such as 0440",
                );
            }
            Ok(mode)
        }
    }
}

fn containers(names: &[String]) -> Result<ContainerScope, FieldError> {
    if names.is_empty() {
        let reason = "must name a container; leave it out for all containers";
        return Err(FieldError::in_field("containers", reason));
    }
    let mut seen = BTreeSet::new();
    if let Some(i) = names.iter().position(|name| !seen.insert(name)) {
        return Err(FieldError::in_field(&format!("containers[{i}]"), "repeats a name"));
    }
    Ok(ContainerScope::of(names.iter().cloned()))
}

fn injector(name: &str) -> Result<String, FieldError> {
    if name.is_empty() {
        return Err(FieldError::in_field("injector", "is empty; leave it out to ask all injectors"));
    }
    Ok(name.to_owned())
}
