//! Ampoule's own protocol, for pod authors: annotation `ampoule.dev/secrets`, a YAML list with one
//! mapping per secret.
//!
//! Errors name their path, such as `ampoule.dev/secrets[1].env`. An entry without `env` and `file`
//! has the default of Flyte's SDKs: an environment variable named `GROUP_KEY`.

use serde_json::{Map, Value};

use crate::{
    request::{AnnotationError, MountRequirement, RequestedSecret, SECRETS_ANNOTATION, SecretRequest, annotation_text},
    text,
};

pub use self::entry::SecretEntry;

mod check;
mod entry;
mod template;
mod yaml;

/// The key of the annotation.
pub(crate) const KEY: &str = SECRETS_ANNOTATION;

/// Maximum length of the value in bytes: a quarter of Kubernetes' limit for all annotations of an
/// object.
const MAX_VALUE: usize = 64 * 1024;

/// The pattern of a default variable's name, as in Flyte's SDKs. A shell can read such variables.
const VARIABLE: &str = "^[A-Z_][A-Z0-9_]*$";

/// The path of a value in the list, as messages append it to the annotation's key: `[1].env`, or
/// empty for the whole list.
struct EntryPath(String);

/// An error in the list.
struct EntryError {
    path: EntryPath,
    reason: String,
}

/// An error in an entry: the path in the entry, such as `.env`, or empty for the whole entry.
struct FieldError {
    field: String,
    reason: String,
}

/// Reads the requests of the list in its order; none if the annotation is missing.
///
/// # Errors
///
/// Returns the first error in the list, with its path.
pub(crate) fn read_requests(annotations: &Map<String, Value>) -> Result<Vec<RequestedSecret>, AnnotationError> {
    let Some(value) = annotations.get(KEY) else { return Ok(Vec::new()) };
    let entries = read_entries(value)?.into_iter().enumerate();
    let mut requests = Vec::new();
    for (index, entry) in entries {
        requests.extend(requested_secrets(index, entry)?);
    }
    Ok(requests)
}

/// Parses the list without checking its entries.
fn read_entries(value: &Value) -> Result<Vec<SecretEntry>, EntryError> {
    let text = annotation_text(value).map_err(|error| EntryPath::whole().error(error.to_string()))?;
    if text.len() > MAX_VALUE {
        let reason = format!("must be at most {MAX_VALUE} bytes long, got {}", text.len());
        return Err(EntryPath::whole().error(reason));
    }
    yaml::parse(text)
}

/// Converts an entry to its request, or to the requests for the parts of its template.
fn requested_secrets(index: usize, entry: SecretEntry) -> Result<Vec<RequestedSecret>, EntryError> {
    let in_entry = |error: FieldError| EntryPath(format!("[{index}]{}", error.field)).error(error.reason);
    let annotation = format!("{KEY}[{index}]");
    if entry.template.is_some() {
        let options = template::parts(&entry).map_err(in_entry)?;
        let annotation = [&annotation, ".template"].concat();
        return Ok(options
            .map(|(request, options)| RequestedSecret { annotation: annotation.clone(), request, options })
            .collect());
    }
    let options = check::options(&entry).map_err(in_entry)?;
    let request = secret_request(entry).map_err(in_entry)?;
    Ok(vec![RequestedSecret { annotation, request, options }])
}

/// Checks an entry and converts it to a request.
fn secret_request(entry: SecretEntry) -> Result<SecretRequest, FieldError> {
    check::plugin_options(&entry.options)?;
    // Most backends have groups, so a missing one is usually an oversight.
    let Some(group) = entry.group else {
        let reason = "group is missing; write group: \"\" for a backend without groups".to_owned();
        return Err(FieldError { field: String::new(), reason });
    };
    let is_file = entry.file || entry.path.is_some();
    let (version, options) = (entry.version, entry.options);
    if entry.keys.is_some() {
        if group.is_empty() {
            return Err(FieldError::in_field("group", "is required for all keys"));
        }
        let mount = if is_file { MountRequirement::File } else { MountRequirement::EnvVar };
        let key = SecretRequest::ALL.to_owned();
        return Ok(SecretRequest { group, group_version: version, key, mount, env_var: None, all_keys: true, options });
    }
    if entry.key.is_empty() {
        return Err(FieldError::in_field("key", "is required; write keys: all for every key"));
    }
    if let Some(name) = &entry.env {
        check::variable(name)?;
    }
    let (mount, env_var) = match entry.env {
        env if is_file => (MountRequirement::File, env),
        Some(name) => (MountRequirement::EnvVar, Some(name)),
        None => (MountRequirement::EnvVar, Some(required_variable(&group, &entry.key)?)),
    };
    Ok(SecretRequest { group, group_version: version, key: entry.key, mount, env_var, all_keys: false, options })
}

// === impl EntryPath ===

impl EntryPath {
    fn whole() -> Self {
        Self(String::new())
    }

    fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    fn is_in_entry(&self) -> bool {
        self.0.contains('.')
    }

    fn error(self, reason: impl Into<String>) -> EntryError {
        EntryError { path: self, reason: reason.into() }
    }
}

// === impl FieldError ===

impl FieldError {
    fn in_field(field: &str, reason: impl Into<String>) -> Self {
        Self { field: format!(".{field}"), reason: reason.into() }
    }
}

// === impl AnnotationError ===

impl From<EntryError> for AnnotationError {
    fn from(error: EntryError) -> Self {
        Self { annotation: format!("{KEY}{}", error.path.0), reason: error.reason }
    }
}

/// Returns `GROUP_KEY`, or `KEY` without a group, as Flyte's SDK for version 2 does. `None` if that
/// is no identifier.
pub(crate) fn default_variable(group: &str, key: &str) -> Option<String> {
    Some(joined(group, key)).filter(|name| is_variable(name))
}

fn required_variable(group: &str, key: &str) -> Result<String, FieldError> {
    default_variable(group, key).ok_or_else(|| {
        let name = text::quote(joined(group, key).as_bytes());
        let reason = format!(
            "is required, because the default {name} (from group and key) does not match {VARIABLE}; \
             set env, or set file: true"
        );
        FieldError::in_field("env", reason)
    })
}

fn joined(group: &str, key: &str) -> String {
    let joined = if group.is_empty() { key.to_owned() } else { format!("{group}_{key}") };
    joined.replace('-', "_").to_ascii_uppercase()
}

fn is_variable(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|byte| !byte.is_ascii_digit())
        && bytes.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
}

#[cfg(test)]
mod schema;
#[cfg(test)]
mod tests;
