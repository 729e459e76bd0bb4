//! The edits that an injector may request: [`PodEdit`], the host's type for the contract's `edit`
//! variant.
//!
//! `wit/admission.wit` defines the meaning of every case. [`apply`] applies edits to a pod;
//! [`json`] converts them to Kubernetes' JSON.

pub(crate) mod apply;
pub(crate) mod budget;
mod checks;
pub(crate) mod container_patch;
mod difference;
pub(crate) mod edited;
mod env_from_secret;
mod fields;
mod index;
mod json;
mod list;
mod secret_value;
pub(crate) mod update;

use serde::Serialize;

pub(crate) use self::{container_patch::ContainerPatch, secret_value::FetchedOrigin};
pub use self::{
    difference::{EditChange, EditDifference},
    env_from_secret::EnvFromSecret,
    fields::FieldsError,
    secret_value::{SecretValue, ValueSource},
};
use crate::{profile::InitContainerPosition, request::ContainerScope};

/// The name of the init container that fetches values in the pod.
pub const FETCH_CONTAINER: &str = "ampoule-fetch";
/// The name of the sidecar that fetches them again.
pub const REFRESH_CONTAINER: &str = "ampoule-refresh";
/// The variable of these containers that lists the values as JSON.
pub const FETCH_VARIABLE: &str = "AMPOULE_FETCH";

/// A change to a pod. Serializes to the contract's `edit` with names in camel case, without absent
/// and empty fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PodEdit {
    /// Sets an environment variable in every container.
    SetEnv(EnvVar),
    /// Adds a volume.
    AddVolume(Volume),
    /// Mounts a volume in every container.
    MountVolume(VolumeMount),
    /// Adds an init container.
    AddInitContainer(InitContainer),
    /// Sets an annotation of the pod.
    SetAnnotation(Annotation),
    /// Adds a name to `imagePullSecrets`.
    AddImagePullSecret(String),
    /// Writes a secret to a file in every container.
    WriteFile(SecretFile),
    /// Adds a Docker configuration that the plugin fetched to `imagePullSecrets`.
    AddPullSecretValue(SecretValue),
    /// Sets a variable for each key of a Kubernetes Secret. Only the host makes this edit.
    SetEnvFrom(EnvFromSecret),
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// The name.
    pub name: String,
    /// The source of the value.
    pub source: EnvSource,
}

/// The source of an environment variable's value.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EnvSource {
    /// A public value.
    Literal(String),
    /// A key of a Kubernetes Secret.
    SecretKey(SecretKeyRef),
    /// A secret value that the plugin fetched.
    SecretValue(SecretValue),
    /// A promise of the plugin, for which the pod fetches the value.
    Promise(String),
    /// A key of a file that the kubelet reads.
    FileKey(Box<FileKeyRef>),
}

/// A variable in a file of an `emptyDir` (`fileKeyRef`, Kubernetes 1.35).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileKeyRef {
    /// The name of the volume.
    pub volume: String,
    /// The path of the file in the volume.
    pub path: String,
    /// The name of the variable in the file.
    pub key: String,
    /// Whether the container starts without the variable.
    pub optional: bool,
}

/// A file with a secret. All files of a directory share one volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretFile {
    /// The absolute path.
    pub path: String,
    /// The permission bits; `None` means that every user may read the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// The source of the content.
    pub source: FileSource,
}

/// The source of the content of a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FileSource {
    /// A key of a Kubernetes Secret.
    SecretKey(SecretKeyRef),
    /// A secret value that the plugin fetched.
    SecretValue(SecretValue),
    /// A promise of the plugin, for which the pod fetches the value.
    Promise(String),
}

/// A key of a Kubernetes Secret in the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The name of the Secret.
    pub name: String,
    /// The key in the data of the Secret.
    pub key: String,
    /// Whether the container starts without the key.
    pub optional: bool,
}

/// A volume of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// The name.
    pub name: String,
    /// The content.
    pub source: VolumeSource,
}

/// The content of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum VolumeSource {
    /// Keys of a Kubernetes Secret.
    Secret(SecretVolume),
    /// An `emptyDir` in memory.
    Memory {
        /// The size limit as a Kubernetes quantity; `None` means the pod's memory limit.
        #[serde(skip_serializing_if = "Option::is_none")]
        size_limit: Option<String>,
    },
    /// An inline CSI volume.
    Csi(Csi),
    /// A token of the pod's service account.
    ServiceAccountToken(ServiceAccountToken),
    /// Any other source: the JSON of a Kubernetes `Volume` without its name.
    Json(String),
}

/// A volume with keys of a Kubernetes Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretVolume {
    /// The name of the Secret.
    pub secret_name: String,
    /// The keys in the volume; empty means all keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<KeyToPath>,
    /// Whether the pod starts without the Secret or its keys.
    pub optional: bool,
}

/// A key of a Secret and the path of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyToPath {
    /// The key in the data of the Secret.
    pub key: String,
    /// The path of the file, relative to the mount.
    pub path: String,
}

/// An inline CSI volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Csi {
    /// The name of the driver.
    pub driver: String,
    /// Whether the mount is read-only.
    pub read_only: bool,
    /// `volumeAttributes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, String)>,
    /// `nodePublishSecretRef.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_publish_secret: Option<String>,
}

/// A projected service-account token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountToken {
    /// The audience; `None` means the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The lifetime in seconds; `None` means Kubernetes' default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_seconds: Option<u32>,
    /// The path of the file, relative to the mount.
    pub path: String,
}

/// A mount of a volume in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The name of the volume.
    pub volume: String,
    /// The absolute path in the container.
    pub path: String,
    /// Whether the mount is read-only.
    pub read_only: bool,
    /// The mounted path within the volume; `None` means the root of the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
}

/// An init container.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InitContainer {
    /// The name.
    pub name: String,
    /// The image.
    pub image: String,
    /// The command; empty means that of the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The arguments; empty means those of the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// The volume mounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<VolumeMount>,
    /// The compute resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The security context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// The position; `None` means that of [`Conventions`](crate::Conventions).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<InitContainerPosition>,
    /// Fields as JSON, merged in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<ContainerPatch>,
}

/// Compute resources, as pairs of resource name and quantity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// The requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<(String, String)>,
    /// The limits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<(String, String)>,
}

/// The security context of an init container. The cluster decides about fields that are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityContext {
    /// `runAsUser`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i64>,
    /// `runAsGroup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<i64>,
    /// `runAsNonRoot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_non_root: Option<bool>,
    /// `readOnlyRootFilesystem`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,
    /// `allowPrivilegeEscalation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_privilege_escalation: Option<bool>,
    /// `capabilities.drop: [ALL]`.
    pub drop_all_capabilities: bool,
    /// `seccompProfile.type: RuntimeDefault`.
    pub runtime_default_seccomp: bool,
}

/// An annotation of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotation {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// The behaviour if the pod has a different value.
    pub collision: AnnotationCollision,
}

/// The behaviour if the pod has the annotation with a different value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnnotationCollision {
    /// Keeps the pod's value.
    IfAbsent,
    /// Refuses the pod.
    MustOwn,
}

// === impl PodEdit ===

impl PodEdit {
    /// Checks names and paths, independent of the pod.
    ///
    /// # Errors
    ///
    /// The edit is invalid for every pod. The message names the part, and contains no value.
    pub fn validate(&self) -> Result<(), String> {
        apply::check_edit(self).map_err(|error| error.to_string())
    }

    /// Whether the edit contains a value that the injector fetched.
    #[must_use]
    pub fn contains_value(&self) -> bool {
        self.value().is_some()
    }

    /// Whether the edit refers to a Kubernetes Secret, which the kubelet reads.
    pub(crate) fn refers_to_secret(&self) -> bool {
        match self {
            Self::SetEnv(env) => matches!(env.source, EnvSource::SecretKey(_)),
            Self::AddVolume(volume) => matches!(volume.source, VolumeSource::Secret(_)),
            Self::WriteFile(file) => matches!(file.source, FileSource::SecretKey(_)),
            Self::AddImagePullSecret(_) | Self::SetEnvFrom(_) => true,
            Self::MountVolume(_) | Self::AddInitContainer(_) | Self::SetAnnotation(_) | Self::AddPullSecretValue(_) => {
                false
            }
        }
    }

    /// Whether the pod fetches the value of the edit.
    pub(crate) fn has_promise(&self) -> bool {
        match self {
            Self::SetEnv(env) => matches!(env.source, EnvSource::Promise(_)),
            Self::WriteFile(file) => matches!(file.source, FileSource::Promise(_)),
            Self::AddVolume(_)
            | Self::MountVolume(_)
            | Self::AddInitContainer(_)
            | Self::SetAnnotation(_)
            | Self::AddImagePullSecret(_)
            | Self::AddPullSecretValue(_)
            | Self::SetEnvFrom(_) => false,
        }
    }

    /// Returns the first value in the edit that the injector fetched.
    pub(crate) fn value(&self) -> Option<&SecretValue> {
        match self {
            Self::SetEnv(env) => env.source.value(),
            Self::AddInitContainer(container) => container.env.iter().find_map(|env| env.source.value()),
            Self::WriteFile(file) => match &file.source {
                FileSource::SecretValue(value) => Some(value),
                FileSource::SecretKey(_) | FileSource::Promise(_) => None,
            },
            Self::AddPullSecretValue(value) => Some(value),
            Self::AddVolume(_)
            | Self::MountVolume(_)
            | Self::SetAnnotation(_)
            | Self::AddImagePullSecret(_)
            | Self::SetEnvFrom(_) => None,
        }
    }
}

// === impl EnvSource ===

impl EnvSource {
    fn value(&self) -> Option<&SecretValue> {
        match self {
            Self::SecretValue(value) => Some(value),
            Self::Literal(_) | Self::SecretKey(_) | Self::Promise(_) | Self::FileKey(_) => None,
        }
    }
}

// === impl SecretFile ===

impl SecretFile {
    /// The size limit of a memory volume: twice 4 MiB of files, which the program replaces
    /// together, and what a tmpfs adds.
    pub(crate) const MEMORY_SIZE: &str = "10Mi";

    /// The name of the memory volume for the fetched files of a directory in these containers.
    pub(crate) fn memory_volume(directory: &str, scope: &ContainerScope) -> String {
        apply::memory_volume_name(directory, scope)
    }

    /// Checks the path and the mode of a file.
    ///
    /// # Errors
    ///
    /// The file is invalid for every pod.
    pub fn validate(path: &str, mode: Option<u32>) -> Result<(), String> {
        apply::check_file(path, mode).map_err(|error| error.to_string())
    }
}
