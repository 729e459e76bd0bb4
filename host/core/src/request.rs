//! What a pod asks for: one [`SecretRequest`] per secret, as decoded from its annotations.
//!
//! The wire formats live beside this file, one module each (`flyte`); the rest of Ampoule sees only these types.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::flyte;

/// A secret request and the annotation that it came from, in the order in which the pod's requests are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedSecret {
    /// The key of the annotation, for messages.
    pub annotation: String,
    /// The request.
    pub request: SecretRequest,
}

/// One secret that a pod asks for. Every string may be empty, and none was checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
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
    /// The annotation's key.
    pub annotation: String,
    /// What is wrong with its value, and where. Never repeats the whole value.
    pub reason: String,
}

// === impl RequestedSecret ===

impl RequestedSecret {
    /// Reads every secret request in a pod's annotations, in index order (`s2` before `s10`), then by key.
    ///
    /// # Errors
    ///
    /// The first annotation, in that order, that claims to be a request and cannot be read.
    pub fn from_annotations(annotations: &Map<String, Value>) -> Result<Vec<Self>, AnnotationError> {
        flyte::requests(annotations)
    }
}

// === impl SecretRequest ===

impl fmt::Display for SecretRequest {
    /// `group/key` with the version after an `@`, as messages name a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, group_version, key, mount: _, env_var: _ } = self;
        write!(f, "{group}/{key}")?;
        if group_version.is_empty() { Ok(()) } else { write!(f, "@{group_version}") }
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
