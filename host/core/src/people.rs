//! The protocol for people: annotation `ampoule.dev/secrets`, a YAML list with one mapping per secret.
//!
//! Whatever is wrong in it is named by its place, as `ampoule.dev/secrets[1].env`. What is not said is as the SDKs have it: a
//! variable, named `GROUP_KEY`.

use serde_json::{Map, Value};

use crate::{AnnotationError, MountRequirement, RequestedSecret, SecretRequest, excerpt, request};

pub use self::entry::SecretEntry;

mod entry;
mod yaml;

/// The annotation's key.
pub(crate) const ANNOTATION: &str = "ampoule.dev/secrets";

/// The longest value, in bytes: a quarter of what Kubernetes gives all annotations of an object.
const LONGEST: usize = 64 * 1024;

/// What the name of a variable must match, as the SDKs have it.
const VARIABLE: &str = "^[A-Z_][A-Z0-9_]*$";

/// A place in the list, as it stands behind the annotation's key: `[1].env`, or nothing for the whole.
struct Place(String);

/// What is wrong, and where.
struct Wrong(Place, String);

/// Reads the list, if there is one: its requests in its order.
///
/// # Errors
///
/// The first thing in it that is wrong, with its place.
pub(crate) fn requests(annotations: &Map<String, Value>) -> Result<Vec<RequestedSecret>, AnnotationError> {
    let Some(value) = annotations.get(ANNOTATION) else { return Ok(Vec::new()) };
    let requests = entries(value)?.into_iter().enumerate().map(|(i, entry)| {
        let request = request(entry).map_err(|(key, reason)| Place(format!("[{i}].{key}")).wrong(reason))?;
        Ok(RequestedSecret { annotation: format!("{ANNOTATION}[{i}]"), request })
    });
    requests.collect::<Result<_, Wrong>>().map_err(AnnotationError::from)
}

/// The entries as they are written.
fn entries(value: &Value) -> Result<Vec<SecretEntry>, Wrong> {
    let whole = |reason| Place::whole().wrong(reason);
    let text = request::text_of(value).map_err(|error| whole(error.to_string()))?;
    if text.len() > LONGEST {
        return Err(whole(format!("must be {LONGEST} bytes at most, and has {}", text.len())));
    }
    yaml::parse(text)
}

/// What an entry asks for, or which of its keys is wrong, and why.
fn request(entry: SecretEntry) -> Result<SecretRequest, (&'static str, String)> {
    let SecretEntry { group, version, key, env, file } = entry;
    if key.is_empty() {
        return Err(("key", "must be given".to_owned()));
    }
    let (mount, env_var) = match env {
        Some(name) if !is_variable(&name) => {
            return Err(("env", format!("{} must match {VARIABLE}", excerpt::quoted(name.as_bytes()))));
        }
        env if file => (MountRequirement::File, env),
        Some(name) => (MountRequirement::EnvVar, Some(name)),
        None => (MountRequirement::EnvVar, Some(default_variable(&group, &key).map_err(|reason| ("env", reason))?)),
    };
    Ok(SecretRequest { group, group_version: version, key, mount, env_var })
}

// === impl Place ===

impl Place {
    fn whole() -> Self {
        Self(String::new())
    }

    fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    fn wrong(self, reason: impl Into<String>) -> Wrong {
        Wrong(self, reason.into())
    }
}

// === impl AnnotationError ===

impl From<Wrong> for AnnotationError {
    fn from(Wrong(Place(path), reason): Wrong) -> Self {
        Self { annotation: format!("{ANNOTATION}{path}"), reason }
    }
}

/// `GROUP_KEY`, or `KEY` without a group, as Flyte's SDK for version 2 makes it.
fn default_variable(group: &str, key: &str) -> Result<String, String> {
    let whole = if group.is_empty() { key.to_owned() } else { format!("{group}_{key}") };
    let name = whole.replace('-', "_").to_ascii_uppercase();
    if is_variable(&name) {
        return Ok(name);
    }
    let name = excerpt::quoted(name.as_bytes());
    Err(format!("must be given, because {name}, made of group and key, does not match {VARIABLE}; or ask for a file"))
}

fn is_variable(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    name.bytes().next().is_some_and(letter) && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
