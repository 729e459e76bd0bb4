//! The changes that an injector may ask for: [`PodEdit`], the host's side of the contract's `edit` variant.
//!
//! The meaning of every arm is in `wit/types.wit`; [`apply`] carries it out, [`json`] says how each looks in a pod.

pub(crate) mod apply;
pub(crate) mod edited;
mod json;
mod list;

use std::fmt;

use secrecy::{ExposeSecret, SecretSlice};
use serde::{Serialize, Serializer};

/// One change to a pod. Serialized it is the contract's `edit` with its names in camel case; what is absent or empty is left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PodEdit {
    /// Set an environment variable in every container.
    SetEnv(EnvVar),
    /// Add a volume.
    AddVolume(Volume),
    /// Mount a volume in every container.
    MountVolume(VolumeMount),
    /// Add an init container.
    AddInitContainer(InitContainer),
    /// Set an annotation of the pod.
    SetAnnotation(Annotation),
    /// Add a name to `imagePullSecrets`.
    AddImagePullSecret(String),
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub source: EnvSource,
}

/// Where an environment variable's value comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EnvSource {
    /// A public value.
    Literal(String),
    /// A key of a Kubernetes Secret.
    SecretKey(SecretKeyRef),
    /// A value that the plugin fetched.
    SecretValue(SecretValue),
}

/// Bytes that no log, message or debug output ever shows, and that are wiped when dropped.
#[derive(Clone)]
pub struct SecretValue(SecretSlice<u8>);

/// A key of a Kubernetes Secret in the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret's name.
    pub name: String,
    /// The key in its data.
    pub key: String,
    /// Whether the container starts without it.
    pub optional: bool,
}

/// A volume of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub source: VolumeSource,
}

/// What a volume holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum VolumeSource {
    /// Keys of a Kubernetes Secret.
    Secret(SecretVolume),
    /// Memory, with a size limit as a Kubernetes quantity.
    Memory {
        /// The limit; none leaves it to the pod's memory limit.
        #[serde(skip_serializing_if = "Option::is_none")]
        size_limit: Option<String>,
    },
    /// An inline CSI volume.
    Csi(Csi),
    /// A token of the pod's service account.
    ServiceAccountToken(ServiceAccountToken),
    /// Any other source: the JSON text of a `Volume` without its name.
    Json(String),
}

/// A volume with keys of a Kubernetes Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretVolume {
    /// The Secret's name.
    pub secret_name: String,
    /// The keys to show; empty shows all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<KeyToPath>,
    /// Whether the pod starts without it.
    pub optional: bool,
}

/// One key of a Secret as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyToPath {
    /// The key in the Secret's data.
    pub key: String,
    /// The file's path below the mount.
    pub path: String,
}

/// An inline CSI volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Csi {
    /// The driver's name.
    pub driver: String,
    /// Mount it read-only.
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
    /// Whom it is for; none is the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Its life in seconds; none is Kubernetes' default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_seconds: Option<u32>,
    /// The file's path below the mount.
    pub path: String,
}

/// A volume's place in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The volume's name.
    pub volume: String,
    /// The absolute path in the container.
    pub path: String,
    /// Mount it read-only.
    pub read_only: bool,
    /// A path within the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
}

/// An init container.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InitContainer {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Its command; empty is the image's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Its arguments; empty are the image's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Its mounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<VolumeMount>,
    /// Its resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Its security context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// Where it goes; none is as the profile says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<InitContainerPosition>,
}

/// Compute resources: pairs of resource name and quantity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<(String, String)>,
    /// Limits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<(String, String)>,
}

/// The security context of an init container; what is none is left to the cluster.
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

/// Where an init container goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitContainerPosition {
    /// Before every other one.
    First,
    /// After every other one.
    Last,
}

/// An annotation of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotation {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What to do when the pod has another value.
    pub collision: AnnotationCollision,
}

/// What to do when the pod has the annotation with another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnnotationCollision {
    /// Keep the pod's.
    IfAbsent,
    /// Refuse the pod.
    MustOwn,
}

// === impl SecretValue ===

impl SecretValue {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// Whether these are the bytes.
    #[must_use]
    pub fn is(&self, bytes: &[u8]) -> bool {
        self.expose() == bytes
    }

    /// The bytes, for the one place that puts them into the pod.
    pub(crate) fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(redacted)")
    }
}

impl PartialEq for SecretValue {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.expose())
    }
}

impl Serialize for SecretValue {
    /// Never the bytes.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("redacted")
    }
}
