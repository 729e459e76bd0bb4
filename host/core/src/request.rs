//! What a pod asks for: one [`SecretRequest`] per secret, as decoded from its annotations.
//!
//! The wire formats live beside this file, one module each (`flyte`, `people`); the rest of Ampoule sees only these types.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{excerpt, flyte, people};

/// The labels that bring a pod to the webhook, each with the value `"true"`: Flyte's, and that of the protocol for people. Which
/// one it is does not matter for what the pod may ask.
pub const TRIGGER_LABELS: [&str; 2] = ["inject-flyte-secrets", "ampoule.dev/inject"];

/// The most secrets that a pod may ask for, in both protocols together.
const MOST: usize = 256;

/// A secret request and the annotation that it came from, in the order in which the pod's requests are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedSecret {
    /// The key of the annotation, with the place in it where it is a list (`ampoule.dev/secrets[1]`), for messages.
    pub annotation: String,
    /// The request.
    pub request: SecretRequest,
}

/// One secret that a pod asks for. Every string may be empty, and none was checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretRequest {
    /// The group, such as a Kubernetes Secret's name.
    pub group: String,
    /// The version of the group; few backends have one.
    pub group_version: String,
    /// The key within the group.
    pub key: String,
    /// How the secret is to be delivered.
    pub mount: MountRequirement,
    /// The environment variable that the author wants for it, if any.
    pub env_var: Option<String>,
}

/// How the secret is to be delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountRequirement {
    /// The backend chooses.
    #[default]
    Any,
    /// As an environment variable.
    EnvVar,
    /// As a file.
    File,
}

/// An annotation that should hold a secret request and does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("annotation {annotation}: {reason}")]
pub struct AnnotationError {
    /// The annotation's key, with the place in it where it is a list (`ampoule.dev/secrets[1].env`).
    pub annotation: String,
    /// What is wrong with its value, and where. Never repeats the whole value.
    pub reason: String,
}

/// An annotation's value that is no text. Kubernetes lets none through, a hand-made document might have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a string, not {0}")]
pub(crate) struct NotAString(&'static str);

/// The text of an annotation.
pub(crate) fn text_of(value: &Value) -> Result<&str, NotAString> {
    match value {
        Value::String(value) => Ok(value),
        Value::Null => Err(NotAString("null")),
        Value::Bool(_) => Err(NotAString("a boolean")),
        Value::Number(_) => Err(NotAString("a number")),
        Value::Array(_) => Err(NotAString("a list")),
        Value::Object(_) => Err(NotAString("an object")),
    }
}

// === impl RequestedSecret ===

impl RequestedSecret {
    /// Reads every secret request in a pod's annotations: Flyte's in index order (`s2` before `s10`), then by key, then the list
    /// of `ampoule.dev/secrets` in its own order.
    ///
    /// One that is there twice is served twice, as in Flyte; the second time finds in the pod what the first put there.
    ///
    /// # Errors
    ///
    /// The first annotation, in that order, that claims to be a request and cannot be read, or that is one too many: each costs a plugin's
    /// call and a line of the audit trail. Kubernetes bounds annotations only after webhooks were asked.
    pub fn from_annotations(annotations: &Map<String, Value>) -> Result<Vec<Self>, AnnotationError> {
        let mut requests = flyte::requests(annotations)?;
        requests.extend(people::requests(annotations)?);
        match requests.get(MOST) {
            None => Ok(requests),
            Some(Self { annotation, .. }) => {
                let reason = format!("a pod may ask for {MOST} secrets, and this one asks for {}", requests.len());
                Err(AnnotationError { annotation: annotation.clone(), reason })
            }
        }
    }
}

// === impl SecretRequest ===

impl fmt::Display for SecretRequest {
    /// `group/key` with the version after an `@`, as messages name a secret: each shortened, and nothing in it that a terminal or
    /// a log would act on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, group_version, key, mount: _, env_var: _ } = self;
        write!(f, "{}/{}", excerpt::name(group), excerpt::name(key))?;
        if group_version.is_empty() { Ok(()) } else { write!(f, "@{}", excerpt::name(group_version)) }
    }
}

// === impl MountRequirement ===

impl fmt::Display for MountRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::EnvVar => "env-var",
            Self::File => "file",
        })
    }
}
