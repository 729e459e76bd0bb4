//! The edits for a secret: those of Flyte's Embedded manager, except that every file is at its
//! path, and that no shell creates it.

use ampoule_plugin_sdk::{
    InjectionError::{self, InvalidRequest},
    names::env_name,
    prelude::*,
};

/// The source of a value: a key of a Secret in the pod's namespace, or the text of a promise.
#[derive(Clone)]
pub(crate) enum ValueSource {
    Reference(SecretKeyRef),
    Promise(String),
}

/// Returns the edits for a request.
pub(crate) fn edits(
    request: &SecretRequest,
    env_prefix: &str,
    mount_directory: &str,
    source: impl Into<ValueSource>,
) -> Result<Vec<Edit>, InjectionError> {
    let source = source.into();
    match request.delivery {
        // Flyte's Embedded manager sets a variable for both.
        Delivery::Any | Delivery::EnvVar => {
            let name = match &request.env_var {
                Some(name) => name.clone(),
                None => [env_prefix, &request.key.to_uppercase()].concat(),
            };
            let prefix = Edit::set_env("FLYTE_SECRETS_ENV_PREFIX", EnvSource::literal(env_prefix));
            Ok(vec![prefix, Edit::set_env(env_name(&name)?, EnvSource::from(source))])
        }
        Delivery::File => {
            let path = [mount_directory, "/", file_name(&request.key)?].concat();
            let mut edits = vec![
                Edit::write_file(&path, FileSource::from(source)),
                Edit::set_env("FLYTE_SECRETS_DEFAULT_DIR", EnvSource::literal(mount_directory)),
                Edit::set_env("FLYTE_SECRETS_FILE_PREFIX", EnvSource::literal("")),
            ];
            if let Some(name) = &request.env_var {
                edits.push(Edit::set_env(env_name(name)?, EnvSource::literal(path)));
            }
            Ok(edits)
        }
    }
}

/// Checks that a key names a file. The case is kept.
fn file_name(key: &str) -> Result<&str, InjectionError> {
    if key != "." && !key.starts_with("..") && !key.contains(['/', ':', '\0']) {
        return Ok(key);
    }
    Err(InvalidRequest(format!("key {key:?} cannot name a file: leave out `/`, `:` and leading `..`")))
}

// === impl ValueSource ===

impl From<SecretKeyRef> for ValueSource {
    fn from(reference: SecretKeyRef) -> Self {
        Self::Reference(reference)
    }
}

impl From<String> for ValueSource {
    fn from(promise: String) -> Self {
        Self::Promise(promise)
    }
}

impl From<ValueSource> for EnvSource {
    fn from(source: ValueSource) -> Self {
        match source {
            ValueSource::Reference(reference) => Self::from(reference),
            ValueSource::Promise(text) => Self::promise(text),
        }
    }
}

impl From<ValueSource> for FileSource {
    fn from(source: ValueSource) -> Self {
        match source {
            ValueSource::Reference(reference) => Self::from(reference),
            ValueSource::Promise(text) => Self::promise(text),
        }
    }
}
