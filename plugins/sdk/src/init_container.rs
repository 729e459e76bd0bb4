//! [`InitContainer`]: a container that runs before those of the pod, such as to pull a secret into
//! a volume.
//!
//! [`InitContainer::merge_json`] is for fields without a method here.

use crate::{EnvSource, EnvVar, SecretKeyRef, VolumeMount};

/// An init container.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InitContainer {
    /// Its name, a DNS label.
    pub name: String,
    /// Its image. Read it from the settings: many clusters mirror images.
    pub image: String,
    /// `command`. Empty: the image's own.
    pub command: Vec<String>,
    /// `args`. Empty: the image's own.
    pub args: Vec<String>,
    /// Its own variables, without promises.
    pub(crate) env: Vec<EnvVar>,
    /// Its own mounts, without sub-paths.
    pub(crate) mounts: Vec<VolumeMount>,
    /// Compute resources.
    pub resources: Option<Resources>,
    /// Whether it has the security context that the Pod Security Standard `restricted` requires.
    pub restricted: bool,
    /// `securityContext.runAsUser`. Any user except 0 also sets `runAsNonRoot`.
    pub run_as_user: Option<u32>,
    /// `securityContext.runAsGroup`.
    pub run_as_group: Option<u32>,
    /// `securityContext.readOnlyRootFilesystem`.
    pub read_only_root_filesystem: bool,
    /// Its position, which overrides the webhook's profile.
    pub position: Option<InitContainerPosition>,
    /// Merge patches, in order; see [`InitContainer::merge_json`].
    pub merges: Vec<String>,
}

/// The position of an init container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitContainerPosition {
    /// Before all other init containers.
    First,
    /// After all other init containers.
    Last,
}

/// Compute resources, as pairs of resource name and Kubernetes quantity (`cpu`, `200m`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resources {
    /// Resources that the scheduler reserves.
    pub requests: Vec<(String, String)>,
    /// Maximum that the container may use.
    pub limits: Vec<(String, String)>,
}

// === impl InitContainer ===

impl InitContainer {
    /// A container with the image's own command, at the position that the webhook's profile
    /// determines.
    #[must_use]
    pub fn new(name: impl Into<String>, image: impl Into<String>) -> Self {
        #[cfg(target_arch = "wasm32")]
        crate::linked::INIT_CONTAINER.link(Self::add);
        Self {
            name: name.into(),
            image: image.into(),
            command: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            mounts: Vec::new(),
            resources: None,
            restricted: false,
            run_as_user: None,
            run_as_group: None,
            read_only_root_filesystem: false,
            position: None,
            merges: Vec::new(),
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

    /// Adds a variable with a public value to this container only. A later [`Edit::SetEnv`] also
    /// applies to this container, but never replaces its own variables.
    ///
    /// [`Edit::SetEnv`]: crate::Edit::SetEnv
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push(EnvVar { name: name.into(), source: EnvSource::literal(value) });
        self
    }

    /// Adds a variable from a key of a Kubernetes Secret to this container only.
    #[must_use]
    pub fn env_from_secret(mut self, name: impl Into<String>, key: SecretKeyRef) -> Self {
        self.env.push(EnvVar { name: name.into(), source: key.into() });
        self
    }

    /// Adds a read-only mount to this container only.
    #[must_use]
    pub fn mount(mut self, volume: impl Into<String>, path: impl Into<String>) -> Self {
        self.mounts.push(VolumeMount::new(volume, path));
        self
    }

    /// Adds a writable mount to this container only.
    #[must_use]
    pub fn mount_writable(mut self, volume: impl Into<String>, path: impl Into<String>) -> Self {
        self.mounts.push(VolumeMount::new(volume, path).writable());
        self
    }

    /// Sets its resources. A namespace with a quota rejects a pod without them.
    #[must_use]
    pub fn resources(self, resources: Resources) -> Self {
        Self { resources: Some(resources), ..self }
    }

    /// Sets the security context that the Pod Security Standard `restricted` requires of a
    /// container.
    #[must_use]
    pub fn restricted(self) -> Self {
        Self { restricted: true, ..self }
    }

    /// Sets its user. Any user except 0 also sets `runAsNonRoot`.
    #[must_use]
    pub fn run_as_user(self, user: u32) -> Self {
        Self { run_as_user: Some(user), ..self }
    }

    /// Sets its group.
    #[must_use]
    pub fn run_as_group(self, group: u32) -> Self {
        Self { run_as_group: Some(group), ..self }
    }

    /// Makes the image's files read-only. Mounts are not affected.
    #[must_use]
    pub fn read_only_root_filesystem(self) -> Self {
        Self { read_only_root_filesystem: true, ..self }
    }

    /// Sets its position, which overrides the profile.
    #[must_use]
    pub fn position(self, position: InitContainerPosition) -> Self {
        Self { position: Some(position), ..self }
    }

    /// Merges fields of a Kubernetes `Container` that have no method (JSON Merge Patch, RFC 7386),
    /// as JSON text or as a `serde_json::Value`.
    ///
    /// The host rejects `name`, `image`, `command`, `args`, `env`, `envFrom`, `volumeMounts` and
    /// `volumeDevices`, and every field that gives the container more rights than a pod has by
    /// default. The API server validates the rest.
    #[must_use]
    pub fn merge_json(mut self, patch: &(impl ToString + ?Sized)) -> Self {
        self.merges.push(patch.to_string());
        self
    }
}

// === impl Resources ===

impl Resources {
    /// Requests and limits, as pairs of resource name and quantity.
    #[must_use]
    pub fn new<N: Into<String>, Q: Into<String>>(
        requests: impl IntoIterator<Item = (N, Q)>,
        limits: impl IntoIterator<Item = (N, Q)>,
    ) -> Self {
        Self { requests: pairs(requests), limits: pairs(limits) }
    }

    /// Equal requests and limits, as pairs of resource name and quantity.
    #[must_use]
    pub fn exactly<N: Into<String>, Q: Into<String>>(quantities: impl IntoIterator<Item = (N, Q)>) -> Self {
        let requests = pairs(quantities);
        Self { limits: requests.clone(), requests }
    }
}

fn pairs<N: Into<String>, Q: Into<String>>(pairs: impl IntoIterator<Item = (N, Q)>) -> Vec<(String, String)> {
    pairs.into_iter().map(|(name, quantity)| (name.into(), quantity.into())).collect()
}
