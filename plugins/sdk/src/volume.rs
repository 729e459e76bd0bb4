//! [`Volume`] and the kinds of its content.
//!
//! [`VolumeSource::json`] is for kinds without a type here.

/// A volume of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its content.
    pub source: VolumeSource,
}

/// The content of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VolumeSource {
    /// Keys of a Kubernetes Secret in the pod's namespace.
    Secret(SecretVolume),
    /// An `emptyDir` in memory.
    Memory(MemoryVolume),
    /// A volume of an inline CSI driver.
    Csi(CsiVolume),
    /// A projected token of the pod's service account.
    ServiceAccountToken(ServiceAccountTokenVolume),
    /// Any other content; see [`VolumeSource::json`].
    Json(String),
}

/// Keys of a Kubernetes Secret in the pod's namespace, as files.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretVolume {
    /// The name of the Secret.
    pub secret_name: String,
    /// Keys, and the paths of their files below the mount. Empty: every key.
    pub items: Vec<(String, String)>,
    /// Whether the pod starts if the Secret or a key is missing.
    pub optional: bool,
}

/// An `emptyDir` in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryVolume {
    /// The maximum, as a Kubernetes quantity. Without it, only the pod's memory limit applies.
    pub size_limit: Option<String>,
}

/// A volume of an inline CSI driver, such as `secrets-store.csi.k8s.io`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CsiVolume {
    /// The name of the driver.
    pub driver: String,
    /// `volumeAttributes`.
    pub attributes: Vec<(String, String)>,
    /// `nodePublishSecretRef.name`.
    pub node_publish_secret: Option<String>,
    /// Whether the containers can only read.
    pub read_only: bool,
}

/// A projected token of the pod's service account, as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceAccountTokenVolume {
    /// The path of the file below the mount.
    pub path: String,
    /// The audience. Without it, the token is for the API server.
    pub audience: Option<String>,
    /// The lifetime. Without it, the token has the default of Kubernetes, one hour.
    pub expiration_seconds: Option<u32>,
}

// === impl VolumeSource ===

impl VolumeSource {
    /// Any other content: a Kubernetes `Volume` without its `name`, as JSON text or as a
    /// `serde_json::Value`, such as `{"projected": {…}}`. The host rejects text that is not a JSON
    /// object; the API server validates the rest.
    #[must_use]
    pub fn json(source: &(impl ToString + ?Sized)) -> Self {
        Self::Json(source.to_string())
    }
}

impl From<SecretVolume> for VolumeSource {
    fn from(volume: SecretVolume) -> Self {
        Self::Secret(volume)
    }
}

impl From<MemoryVolume> for VolumeSource {
    fn from(volume: MemoryVolume) -> Self {
        Self::Memory(volume)
    }
}

impl From<CsiVolume> for VolumeSource {
    fn from(volume: CsiVolume) -> Self {
        Self::Csi(volume)
    }
}

impl From<ServiceAccountTokenVolume> for VolumeSource {
    fn from(volume: ServiceAccountTokenVolume) -> Self {
        Self::ServiceAccountToken(volume)
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
    /// added keys. The path must be relative and must not contain `..`.
    #[must_use]
    pub fn item(mut self, key: impl Into<String>, path: impl Into<String>) -> Self {
        self.items.push((key.into(), path.into()));
        self
    }

    /// Sets whether the pod starts if the Secret or a key is missing.
    #[must_use]
    pub fn optional(self, optional: bool) -> Self {
        Self { optional, ..self }
    }
}

impl Default for MemoryVolume {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryVolume {
    /// A volume in memory, limited by the pod's memory limit.
    #[must_use]
    pub fn new() -> Self {
        #[cfg(target_arch = "wasm32")]
        crate::linked::MEMORY.link(Self::make);
        Self { size_limit: None }
    }

    /// Limits the size to a Kubernetes quantity such as `16Mi`.
    #[must_use]
    pub fn size_limit(mut self, quantity: impl Into<String>) -> Self {
        self.size_limit = Some(quantity.into());
        self
    }
}

impl CsiVolume {
    /// A read-only volume of an inline CSI driver.
    #[must_use]
    pub fn new(driver: impl Into<String>) -> Self {
        #[cfg(target_arch = "wasm32")]
        crate::linked::CSI.link(Self::make);
        Self { driver: driver.into(), attributes: Vec::new(), node_publish_secret: None, read_only: true }
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

    /// Mounts the volume writable.
    #[must_use]
    pub fn writable(self) -> Self {
        Self { read_only: false, ..self }
    }
}

impl ServiceAccountTokenVolume {
    /// A token for the API server, as a file at this path below the mount, with the default
    /// lifetime of Kubernetes.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        #[cfg(target_arch = "wasm32")]
        crate::linked::SERVICE_ACCOUNT_TOKEN.link(Self::make);
        Self { path: path.into(), audience: None, expiration_seconds: None }
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
