//! Builders for the contract's edits: one constructor per variant of [`Edit`], and a builder for
//! each type with options.
//!
//! The documentation of each variant describes its meaning and how the host treats existing content
//! of the pod.

use crate::{
    Annotation, AnnotationCollision, CsiVolume, Edit, EnvSource, EnvVar, InitContainer, InitContainerPosition,
    KeyToPath, MemoryVolume, Resources, SecretKeyRef, SecretVolume, SecurityContext, ServiceAccountTokenVolume, Volume,
    VolumeMount, VolumeSource,
};

// === impl Edit ===

impl Edit {
    /// Sets an environment variable in every container, such as
    /// `Edit::set_env("TOKEN", SecretKeyRef::new("group", "key"))`.
    #[must_use]
    pub fn set_env(name: impl Into<String>, source: impl Into<EnvSource>) -> Self {
        Self::SetEnv(EnvVar::new(name, source))
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
        Self::AddInitContainer(container)
    }

    /// Sets an annotation unless the pod already has that key.
    #[must_use]
    pub fn default_annotation(key: impl Into<String>, value: impl Into<String>) -> Self {
        let collision = AnnotationCollision::IfAbsent;
        Self::SetAnnotation(Annotation { key: key.into(), value: value.into(), collision })
    }

    /// Sets an annotation; the host rejects a pod that has a different value for it.
    #[must_use]
    pub fn own_annotation(key: impl Into<String>, value: impl Into<String>) -> Self {
        let collision = AnnotationCollision::MustOwn;
        Self::SetAnnotation(Annotation { key: key.into(), value: value.into(), collision })
    }

    /// Adds a name to `imagePullSecrets`.
    #[must_use]
    pub fn add_image_pull_secret(name: impl Into<String>) -> Self {
        Self::AddImagePullSecret(name.into())
    }
}

// === impl EnvVar, EnvSource, SecretKeyRef ===

impl EnvVar {
    /// Creates an environment variable.
    #[must_use]
    pub fn new(name: impl Into<String>, source: impl Into<EnvSource>) -> Self {
        Self { name: name.into(), source: source.into() }
    }
}

impl EnvSource {
    /// A public value, which the host writes into the pod unchanged.
    #[must_use]
    pub fn literal(value: impl Into<String>) -> Self {
        Self::Literal(value.into())
    }

    /// A secret value that the plugin fetched; the host decides how it reaches the pod.
    #[must_use]
    pub fn secret_value(bytes: impl Into<Vec<u8>>) -> Self {
        Self::SecretValue(bytes.into())
    }
}

impl From<SecretKeyRef> for EnvSource {
    fn from(key: SecretKeyRef) -> Self {
        Self::SecretKey(key)
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

// === impl SecretVolume, MemoryVolume, CsiVolume, ServiceAccountTokenVolume ===

impl SecretVolume {
    /// Every key of a Kubernetes Secret that must exist.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self { secret_name: secret.into(), items: Vec::new(), optional: false }
    }

    /// Adds this key as a file at this path. With at least one item, the volume contains only the
    /// added keys.
    #[must_use]
    pub fn item(mut self, key: impl Into<String>, path: impl Into<String>) -> Self {
        self.items.push(KeyToPath { key: key.into(), path: path.into() });
        self
    }

    /// Sets whether the pod starts if the Secret or a key is missing.
    #[must_use]
    pub fn optional(self, optional: bool) -> Self {
        Self { optional, ..self }
    }
}

impl From<SecretVolume> for VolumeSource {
    fn from(volume: SecretVolume) -> Self {
        Self::Secret(volume)
    }
}

impl MemoryVolume {
    /// A volume in memory, limited by the pod's memory limit.
    #[must_use]
    pub fn new() -> Self {
        Self { size_limit: None }
    }

    /// Limits the size to a Kubernetes quantity such as `16Mi`.
    #[must_use]
    pub fn size_limit(self, quantity: impl Into<String>) -> Self {
        let Self { size_limit: _ } = self;
        Self { size_limit: Some(quantity.into()) }
    }
}

impl Default for MemoryVolume {
    fn default() -> Self {
        Self::new()
    }
}

impl From<MemoryVolume> for VolumeSource {
    fn from(volume: MemoryVolume) -> Self {
        Self::Memory(volume)
    }
}

impl CsiVolume {
    /// A read-only volume of an inline CSI driver.
    #[must_use]
    pub fn new(driver: impl Into<String>) -> Self {
        Self { driver: driver.into(), read_only: true, attributes: Vec::new(), node_publish_secret: None }
    }

    /// Adds a volume attribute.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }

    /// Sets the Secret that the kubelet passes to the driver.
    #[must_use]
    pub fn node_publish_secret(self, name: impl Into<String>) -> Self {
        Self { node_publish_secret: Some(name.into()), ..self }
    }
}

impl From<CsiVolume> for VolumeSource {
    fn from(volume: CsiVolume) -> Self {
        Self::Csi(volume)
    }
}

impl ServiceAccountTokenVolume {
    /// A token for the API server, as a file at this path below the mount, with the default
    /// lifetime of Kubernetes.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self { audience: None, expiration_seconds: None, path: path.into() }
    }

    /// Sets the audience of the token.
    #[must_use]
    pub fn audience(self, audience: impl Into<String>) -> Self {
        Self { audience: Some(audience.into()), ..self }
    }

    /// Sets the lifetime of the token in seconds, at least 600.
    #[must_use]
    pub fn expiration_seconds(self, seconds: u32) -> Self {
        Self { expiration_seconds: Some(seconds), ..self }
    }
}

impl From<ServiceAccountTokenVolume> for VolumeSource {
    fn from(volume: ServiceAccountTokenVolume) -> Self {
        Self::ServiceAccountToken(volume)
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

// === impl InitContainer, Resources, SecurityContext ===

impl InitContainer {
    /// A container with the image's own command, at the position that the webhook's profile
    /// determines.
    #[must_use]
    pub fn new(name: impl Into<String>, image: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            image: image.into(),
            command: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            mounts: Vec::new(),
            resources: None,
            security_context: None,
            position: None,
        }
    }

    /// Sets its command.
    #[must_use]
    pub fn command<S: Into<String>>(self, command: impl IntoIterator<Item = S>) -> Self {
        Self { command: command.into_iter().map(Into::into).collect(), ..self }
    }

    /// Sets its arguments.
    #[must_use]
    pub fn args<S: Into<String>>(self, args: impl IntoIterator<Item = S>) -> Self {
        Self { args: args.into_iter().map(Into::into).collect(), ..self }
    }

    /// Adds an environment variable to this container only.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, source: impl Into<EnvSource>) -> Self {
        self.env.push(EnvVar::new(name, source));
        self
    }

    /// Adds a mount to this container only.
    #[must_use]
    pub fn mount(mut self, mount: VolumeMount) -> Self {
        self.mounts.push(mount);
        self
    }

    /// Sets its resources.
    #[must_use]
    pub fn resources(self, resources: Resources) -> Self {
        Self { resources: Some(resources), ..self }
    }

    /// Sets its security context.
    #[must_use]
    pub fn security_context(self, context: SecurityContext) -> Self {
        Self { security_context: Some(context), ..self }
    }

    /// Sets its position, which overrides the profile.
    #[must_use]
    pub fn position(self, position: InitContainerPosition) -> Self {
        Self { position: Some(position), ..self }
    }
}

impl Resources {
    /// Equal requests and limits, as pairs of resource name and quantity.
    #[must_use]
    pub fn exactly<N: Into<String>, Q: Into<String>>(quantities: impl IntoIterator<Item = (N, Q)>) -> Self {
        let requests: Vec<_> = quantities.into_iter().map(|(name, quantity)| (name.into(), quantity.into())).collect();
        Self { limits: requests.clone(), requests }
    }
}

impl SecurityContext {
    /// The settings that the Pod Security Standard `restricted` requires of a container.
    #[must_use]
    pub fn restricted() -> Self {
        Self {
            run_as_user: None,
            run_as_group: None,
            run_as_non_root: Some(true),
            read_only_root_filesystem: None,
            allow_privilege_escalation: Some(false),
            drop_all_capabilities: true,
            runtime_default_seccomp: true,
        }
    }
}
