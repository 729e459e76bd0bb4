//! The secret requests of a pod: [`SecretRequest`], as both annotation protocols decode to it.
//!
//! The protocols are in the modules `flyte` and `ampoule_annotation`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{template::FileTemplate, text};

/// The key of Ampoule's annotation.
pub(crate) const SECRETS_ANNOTATION: &str = "ampoule.dev/secrets";

/// The annotation with the texts of replaced variables, by `CONTAINER/VARIABLE`, as a JSON object.
pub const REFERENCES_ANNOTATION: &str = "ampoule.dev/references";

/// A secret request and the annotation that contains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedSecret {
    /// The place of the request for messages: the annotation's key, with the index if its value is
    /// a list (`ampoule.dev/secrets[1]`); or the variable of a container that is a reference.
    pub annotation: String,
    /// The request.
    pub request: SecretRequest,
    /// What the host does with the answer.
    pub options: RequestOptions,
}

/// What the host does with the answer to a request. No plugin sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestOptions {
    /// Whether the pod gets a file for a variable whose value the kubelet cannot read
    /// (`delivery: pod`).
    pub falls_back_to_file: bool,
    /// The absolute path of the file, or of the folder for all keys; `None` means that of the
    /// plugin.
    pub path: Option<String>,
    /// The permission bits of the file; `None` means those of the plugin.
    pub mode: Option<u32>,
    /// Whether the pod starts without the secret; `None` means that the plugin decides.
    pub optional: Option<bool>,
    /// The containers that get the secret.
    pub containers: ContainerScope,
    /// The only injector that is asked; `None` means all of them.
    pub injector: Option<String>,
    /// What every key of the group becomes; `None` for a request for one key.
    pub all_keys: Option<AllKeys>,
    /// The file of which the secret is a part.
    pub template: Option<PartOfTemplate>,
    /// The value of the variable that the secret replaces in its place; `None` if the variable is
    /// added.
    pub replaces: Option<Arc<str>>,
}

/// A secret as a part of a file. The requests for the parts of a file follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartOfTemplate {
    /// The file.
    pub file: Arc<FileTemplate>,
    /// The position of the secret in the template.
    pub position: usize,
}

/// What every key of a group becomes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AllKeys {
    /// Variables, with this prefix.
    Variables(String),
    /// Files in the folder.
    Files,
}

/// The containers that get a secret: all of them, or those with these names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ContainerScope(Option<Arc<BTreeSet<String>>>);

/// A request for one secret. Every string may be empty, and its content is unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretRequest {
    /// The group, such as the name of a Kubernetes Secret.
    pub group: String,
    /// The version of the group. Few backends have versions.
    pub group_version: String,
    /// The key within the group.
    pub key: String,
    /// How to deliver the secret.
    pub mount: MountRequirement,
    /// The name of the environment variable, if the pod's author set one.
    pub env_var: Option<String>,
    /// Whether the request is for every key of the group. The key is then [`SecretRequest::ALL`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all_keys: bool,
    /// Options for the plugin, whose names only the plugin knows.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// How to deliver a secret.
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

/// An annotation that should contain a secret request and cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", shown_place(annotation))]
pub struct AnnotationError {
    /// The annotation's key, with the path if its value is a list (`ampoule.dev/secrets[1].env`);
    /// or a variable or an argument of a container.
    pub annotation: String,
    /// The error and its position in the value. Never repeats the whole value.
    pub reason: String,
}

/// An annotation whose value is not a string. Kubernetes rejects it, but a handwritten document may
/// contain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a string, not {0}")]
pub(crate) struct NotAString(&'static str);

/// The starts of places in a container. No annotation with requests has such a key.
const CONTAINER_PARTS: [&str; 3] = ["variable ", "command[", "args["];

/// Returns the place of a request as it is shown: an annotation, or a part of a container.
#[must_use]
pub fn shown_place(place: &str) -> String {
    let is_in_container = CONTAINER_PARTS.iter().any(|part| place.starts_with(part));
    if is_in_container { place.to_owned() } else { format!("annotation {}", text::escape_name(place)) }
}

/// Returns the text of an annotation.
pub(crate) fn annotation_text(value: &Value) -> Result<&str, NotAString> {
    match value {
        Value::String(value) => Ok(value),
        Value::Null => Err(NotAString("null")),
        Value::Bool(_) => Err(NotAString("a boolean")),
        Value::Number(_) => Err(NotAString("a number")),
        Value::Array(_) => Err(NotAString("a list")),
        Value::Object(_) => Err(NotAString("an object")),
    }
}

// === impl RequestOptions ===

impl RequestOptions {
    /// Whether the pod starts without the secret by the wish of its author.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.optional == Some(true)
    }
}

// === impl ContainerScope ===

impl ContainerScope {
    /// The containers with these names.
    #[must_use]
    pub fn of(names: impl IntoIterator<Item = String>) -> Self {
        Self(Some(Arc::new(names.into_iter().collect())))
    }

    /// Returns the names; `None` for all containers.
    #[must_use]
    pub fn names(&self) -> Option<&BTreeSet<String>> {
        self.0.as_deref()
    }

    /// Whether the container gets the secret.
    #[must_use]
    pub fn covers(&self, container: &str) -> bool {
        self.names().is_none_or(|names| names.contains(container))
    }

    /// Whether a container can be in both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self.names(), other.names()) {
            (Some(own), Some(others)) => !own.is_disjoint(others),
            _ => true,
        }
    }

    /// Whether every container of the other is in this one.
    pub(crate) fn includes(&self, other: &Self) -> bool {
        match (self.names(), other.names()) {
            (None, _) => true,
            (Some(own), Some(others)) => own.is_superset(others),
            (Some(_), None) => false,
        }
    }
}

// === impl SecretRequest ===

impl SecretRequest {
    /// The key of a request for every key, as policies, the audit trail and messages show it. No
    /// plugin sees it.
    pub const ALL: &'static str = "*";
}

impl fmt::Display for SecretRequest {
    /// Writes `group/key`, or `group/key@version`, as messages name a secret. Each part is
    /// shortened and escaped, for terminals and logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", text::escape_name(&self.group), text::escape_name(&self.key))?;
        if self.group_version.is_empty() {
            return Ok(());
        }
        write!(f, "@{}", text::escape_name(&self.group_version))
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
