//! [`Edit`]: a change of the pod, and its parts with options.
//!
//! The host checks each edit and applies them in order. An edit whose result is already present
//! changes nothing, so a second review of the same pod changes nothing.

use crate::{InitContainer, Volume, VolumeSource};

/// A change of the pod.
///
/// Variables and mounts apply to every container and init container that the pod has at that
/// moment, including those that an earlier edit added; they do not apply to ephemeral containers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Edit {
    /// Sets an environment variable. The name must be valid in Kubernetes (printable ASCII without
    /// `=`).
    ///
    /// The webhook's profile determines whether an edit replaces the pod's own variable of that
    /// name. If two edits of one admission set the same name from different sources, that is a
    /// conflict.
    SetEnv(EnvVar),
    /// Writes a secret to a file, in every container.
    WriteFile(SecretFile),
    /// Adds the value of a promise to `imagePullSecrets`: the JSON of a Docker configuration,
    /// `{"auths": {…}}`. The text is that of the promise ([`EnvSource::Promise`]).
    PullSecret(String),
    /// Adds a volume. Its name must be a DNS label of at most 63 characters. If the pod has a
    /// volume of that name: same content, no change; same Secret, the items are merged; other
    /// content, a conflict.
    AddVolume(Volume),
    /// Mounts a volume of the pod, or of an earlier edit. A container that already mounts this
    /// volume is not changed. If the container or another edit of this admission mounts a different
    /// volume at the same path, that is a conflict.
    MountVolume(VolumeMount),
    /// Adds an init container. No change if the pod has an equivalent one under any name. The same
    /// name with other content is a conflict.
    AddInitContainer(Box<InitContainer>),
    /// Sets an annotation of the pod, except the webhook's own (`flyte.secrets/…`,
    /// `ampoule.dev/…`).
    SetAnnotation(Annotation),
    /// Adds a name to `imagePullSecrets`. No change if the list already contains it.
    AddImagePullSecret(String),
    /// Shows a warning to the pod's author. `kubectl` prints it. The host cuts it at 256 bytes and
    /// keeps the first eight of a request.
    Warn(String),
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// The source of its value.
    pub source: EnvSource,
}

/// The source of a variable's value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvSource {
    /// A public value. Never use it for a secret: everyone with read access to the pod can read it.
    Literal(String),
    /// A key of a Kubernetes Secret in the pod's namespace.
    SecretKey(SecretKeyRef),
    /// The value of a promise: a text of the plugin's choice, of at most
    /// [`MAX_PROMISE_SIZE`](crate::MAX_PROMISE_SIZE) bytes, without a secret. The host passes it to
    /// [`Injector::fetch`](crate::Injector::fetch) after `inject`.
    Promise(String),
}

/// A file with a secret.
///
/// All files of a directory share one volume, which every container mounts read-only at that
/// directory. It hides what the image has there, so give secrets a directory of their own. Two
/// different sources for one path are a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretFile {
    /// An absolute path without `:` and `..`.
    pub path: String,
    /// The source of its content.
    pub source: FileSource,
    /// Its permission bits; every user may read the file (0444) without them.
    pub mode: Option<u32>,
}

/// The source of the content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileSource {
    /// A key of a Kubernetes Secret in the pod's namespace.
    SecretKey(SecretKeyRef),
    /// The value of a promise, of any bytes; see [`EnvSource::Promise`].
    Promise(String),
}

/// A key of a Kubernetes Secret in the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretKeyRef {
    /// The name of the Secret.
    pub name: String,
    /// Its key.
    pub key: String,
    /// Whether the container starts if the Secret or the key is missing.
    pub optional: bool,
}

/// A mount in every container.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumeMount {
    /// The name of the volume.
    pub volume: String,
    /// An absolute path without `:` and `..`.
    pub path: String,
    /// Whether the containers can only read.
    pub read_only: bool,
    /// A path within the volume; relative and without `..`.
    pub sub_path: Option<String>,
}

/// An annotation of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Annotation {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Whether the host rejects a pod that has a different value; otherwise it keeps the pod's
    /// value.
    pub must_own: bool,
}

// === impl Edit ===

impl Edit {
    /// Sets an environment variable in every container, such as
    /// `Edit::set_env("TOKEN", SecretKeyRef::new("group", "key"))`.
    #[must_use]
    pub fn set_env(name: impl Into<String>, source: impl Into<EnvSource>) -> Self {
        Self::SetEnv(EnvVar { name: name.into(), source: source.into() })
    }

    /// Writes a secret to a file, such as
    /// `Edit::write_file("/etc/secrets/token", FileSource::promise(text))`.
    #[must_use]
    pub fn write_file(path: impl Into<String>, source: impl Into<FileSource>) -> Self {
        Self::WriteFile(SecretFile::new(path, source))
    }

    /// Adds the value of a promise to `imagePullSecrets`.
    #[must_use]
    pub fn pull_secret(promise: impl Into<String>) -> Self {
        Self::PullSecret(promise.into())
    }

    /// Adds a volume, such as
    /// `Edit::add_volume("token", SecretVolume::new("group").item("key", "path"))`.
    #[must_use]
    pub fn add_volume(name: impl Into<String>, source: impl Into<VolumeSource>) -> Self {
        Self::AddVolume(Volume { name: name.into(), source: source.into() })
    }

    /// Mounts a volume in every container.
    #[must_use]
    pub fn mount_volume(mount: VolumeMount) -> Self {
        Self::MountVolume(mount)
    }

    /// Adds an init container.
    #[must_use]
    pub fn add_init_container(container: InitContainer) -> Self {
        Self::AddInitContainer(Box::new(container))
    }

    /// Sets an annotation unless the pod already has that key.
    #[must_use]
    pub fn default_annotation(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::SetAnnotation(Annotation { key: key.into(), value: value.into(), must_own: false })
    }

    /// Sets an annotation; the host rejects a pod that has a different value for it.
    #[must_use]
    pub fn own_annotation(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::SetAnnotation(Annotation { key: key.into(), value: value.into(), must_own: true })
    }

    /// Adds a name to `imagePullSecrets`.
    #[must_use]
    pub fn add_image_pull_secret(name: impl Into<String>) -> Self {
        Self::AddImagePullSecret(name.into())
    }

    /// Shows a warning to the pod's author.
    #[must_use]
    pub fn warn(text: impl Into<String>) -> Self {
        Self::Warn(text.into())
    }
}

// === impl EnvSource, FileSource, SecretKeyRef ===

impl EnvSource {
    /// A public value, which the host writes into the pod unchanged.
    #[must_use]
    pub fn literal(value: impl Into<String>) -> Self {
        Self::Literal(value.into())
    }

    /// The value of a promise. The plugin must implement
    /// [`Injector::fetch`](crate::Injector::fetch).
    #[must_use]
    pub fn promise(text: impl Into<String>) -> Self {
        Self::Promise(text.into())
    }
}

impl From<SecretKeyRef> for EnvSource {
    fn from(key: SecretKeyRef) -> Self {
        Self::SecretKey(key)
    }
}

impl FileSource {
    /// The value of a promise. The plugin must implement
    /// [`Injector::fetch`](crate::Injector::fetch).
    #[must_use]
    pub fn promise(text: impl Into<String>) -> Self {
        Self::Promise(text.into())
    }
}

impl From<SecretKeyRef> for FileSource {
    fn from(key: SecretKeyRef) -> Self {
        Self::SecretKey(key)
    }
}

impl From<SecretFile> for Edit {
    fn from(file: SecretFile) -> Self {
        Self::WriteFile(file)
    }
}

impl SecretFile {
    /// A file that every user may read.
    #[must_use]
    pub fn new(path: impl Into<String>, source: impl Into<FileSource>) -> Self {
        #[cfg(target_arch = "wasm32")]
        crate::linked::SECRET_FILE.link(Self::write);
        Self { path: path.into(), source: source.into(), mode: None }
    }

    /// Sets its permission bits, such as `0o400`.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        Self { mode: Some(mode), ..self }
    }
}

impl SecretKeyRef {
    /// A key of a Kubernetes Secret that must exist.
    #[must_use]
    pub fn new(secret: impl Into<String>, key: impl Into<String>) -> Self {
        Self { name: secret.into(), key: key.into(), optional: false }
    }

    /// Sets whether the container starts if the Secret or the key is missing.
    #[must_use]
    pub fn optional(self, optional: bool) -> Self {
        Self { optional, ..self }
    }
}

// === impl VolumeMount ===

impl VolumeMount {
    /// A read-only mount of a volume at an absolute path.
    #[must_use]
    pub fn new(volume: impl Into<String>, path: impl Into<String>) -> Self {
        Self { volume: volume.into(), path: path.into(), read_only: true, sub_path: None }
    }

    /// Makes the mount writable.
    #[must_use]
    pub fn writable(self) -> Self {
        Self { read_only: false, ..self }
    }

    /// Mounts a path within the volume.
    #[must_use]
    pub fn sub_path(self, path: impl Into<String>) -> Self {
        Self { sub_path: Some(path.into()), ..self }
    }
}
