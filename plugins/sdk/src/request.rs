//! Builders for requests, pods and [`InjectionError`], and the text form of a request.
//!
//! The builders for requests and pods are for tests; in production, the host creates them.

use std::fmt;

use crate::{ContainerKind, ContainerView, InjectionError, MountRequirement, PodView, SecretRequest};

// === impl SecretRequest ===

impl SecretRequest {
    /// Requests a key of a group; the backend chooses the delivery.
    #[must_use]
    pub fn new(group: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            group_version: String::new(),
            key: key.into(),
            mount: MountRequirement::Any,
            env_var: None,
        }
    }

    /// Requests a version of the group.
    #[must_use]
    pub fn version(self, group_version: impl Into<String>) -> Self {
        Self { group_version: group_version.into(), ..self }
    }

    /// Requests an environment variable.
    #[must_use]
    pub fn as_env_var(self) -> Self {
        Self { mount: MountRequirement::EnvVar, ..self }
    }

    /// Requests a file.
    #[must_use]
    pub fn as_file(self) -> Self {
        Self { mount: MountRequirement::File, ..self }
    }

    /// Sets the name of the environment variable for the value, or for the path of the file.
    #[must_use]
    pub fn named(self, env_var: impl Into<String>) -> Self {
        Self { env_var: Some(env_var.into()), ..self }
    }
}

impl fmt::Display for SecretRequest {
    /// `group/key`, or `group/key@version`: the form that messages use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, group_version, key, mount: _, env_var: _ } = self;
        f.write_str(group)?;
        f.write_str("/")?;
        f.write_str(key)?;
        if group_version.is_empty() {
            return Ok(());
        }
        f.write_str("@")?;
        f.write_str(group_version)
    }
}

// === impl PodView ===

impl PodView {
    /// A pod in a namespace, without name, labels, annotations and containers.
    #[must_use]
    pub fn new(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: String::new(),
            service_account: String::new(),
            labels: Vec::new(),
            annotations: Vec::new(),
            containers: Vec::new(),
        }
    }

    /// Sets the pod's name.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Sets the pod's service account.
    #[must_use]
    pub fn service_account(self, name: impl Into<String>) -> Self {
        Self { service_account: name.into(), ..self }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((key.into(), value.into()));
        self.labels.sort();
        self
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.push((key.into(), value.into()));
        self.annotations.sort();
        self
    }

    /// Appends a container.
    #[must_use]
    pub fn container(mut self, kind: ContainerKind, name: impl Into<String>) -> Self {
        self.containers.push(ContainerView { name: name.into(), kind });
        self
    }
}

// === impl InjectionError ===

impl InjectionError {
    /// The backend does not have this secret.
    #[must_use]
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::NotFound(text.into())
    }

    /// The backend does not support this delivery.
    #[must_use]
    pub fn unsupported(text: impl Into<String>) -> Self {
        Self::Unsupported(text.into())
    }

    /// The request is not valid for the backend.
    #[must_use]
    pub fn invalid_request(text: impl Into<String>) -> Self {
        Self::InvalidRequest(text.into())
    }

    /// The pod must not have this secret; the host asks no other injector.
    #[must_use]
    pub fn denied(text: impl Into<String>) -> Self {
        Self::Denied(text.into())
    }

    /// The backend does not answer at present.
    #[must_use]
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::Unavailable(text.into())
    }

    /// The plugin itself failed.
    #[must_use]
    pub fn internal(text: impl Into<String>) -> Self {
        Self::Internal(text.into())
    }
}
