//! The input of a plugin: [`SecretRequest`], [`Delivery`], and the webhook's [`Conventions`].
//!
//! In production the host creates them; the constructors are for tests.

use std::{collections::BTreeMap, fmt};

/// One secret that a pod requests.
///
/// The pod's author wrote the texts: any of them may be empty, and the host does not validate them.
/// [`names`](crate::names) has functions for that.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretRequest {
    /// The group (Kubernetes: the Secret's name; AWS: the ARN without its key; …). Empty if not
    /// given.
    pub group: String,
    /// The version of the group. Empty if not given.
    pub group_version: String,
    /// The key within the group. Empty if not given.
    pub key: String,
    /// The delivery.
    pub delivery: Delivery,
    /// The environment variable that the author wants: it holds the value for
    /// [`Delivery::EnvVar`], and the path for [`Delivery::File`].
    pub env_var: Option<String>,
    /// Whether the pod requests every key of the group. `key` is empty then, and `delivery` is
    /// [`Delivery::File`]. Answer with a [`SecretVolume`](crate::SecretVolume) without items and its
    /// mount, or with one file from a promise, whose value is a JSON object; the host makes a file
    /// or a variable of each key. Otherwise answer `Unsupported`.
    pub all_keys: bool,
    /// The options that the author wrote for the plugin; see
    /// [`Injector::OPTIONS`](crate::Injector::OPTIONS).
    pub options: BTreeMap<String, String>,
}

/// The delivery that a pod requests for a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The pod leaves the choice to the backend.
    Any,
    /// An environment variable.
    EnvVar,
    /// A file.
    File,
}

/// The conventions of the cluster's webhook: defaults for a plugin where its own settings are
/// absent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conventions {
    /// The name of the profile: `plain`, or that of a webhook of Flyte (`flyte-v1`, `flyte-v2`).
    /// Treat an unknown name as the newest one that the plugin knows.
    pub profile: String,
    /// The prefix of the names of injected environment variables, such as `_FSEC_`.
    pub env_prefix: String,
    /// The folder that contains the mounts of secret files, such as `/etc/flyte/secrets`.
    pub mount_directory: String,
}

// === impl SecretRequest ===

impl SecretRequest {
    /// Requests a key of a group; the backend chooses the delivery.
    #[must_use]
    pub fn new(group: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            group_version: String::new(),
            key: key.into(),
            delivery: Delivery::Any,
            env_var: None,
            all_keys: false,
            options: BTreeMap::new(),
        }
    }

    /// Requests every key of a group.
    #[must_use]
    pub fn all_of(group: impl Into<String>) -> Self {
        Self { all_keys: true, ..Self::new(group, "").as_file() }
    }

    /// Sets an option.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Requests a version of the group.
    #[must_use]
    pub fn version(self, group_version: impl Into<String>) -> Self {
        Self { group_version: group_version.into(), ..self }
    }

    /// Requests an environment variable.
    #[must_use]
    pub fn as_env_var(self) -> Self {
        Self { delivery: Delivery::EnvVar, ..self }
    }

    /// Requests a file.
    #[must_use]
    pub fn as_file(self) -> Self {
        Self { delivery: Delivery::File, ..self }
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
        let Self { group, group_version, key, .. } = self;
        f.write_str(group)?;
        f.write_str("/")?;
        f.write_str(if self.all_keys { "*" } else { key })?;
        if group_version.is_empty() {
            return Ok(());
        }
        f.write_str("@")?;
        f.write_str(group_version)
    }
}

// === impl Delivery ===

impl Delivery {
    /// The name in the JSON of `describe`. `any` is not a way to deliver a secret.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Any => None,
            Self::EnvVar => Some("env-var"),
            Self::File => Some("file"),
        }
    }
}

// === impl Conventions ===

impl Conventions {
    /// The conventions of a profile: no prefix and the folder `/etc/secrets` for `plain`, otherwise
    /// Flyte's values, with the prefix `_FSEC_` for `flyte-v1` and `_UNION_` for others, and the
    /// folder `/etc/flyte/secrets`.
    #[must_use]
    pub fn new(profile: impl Into<String>) -> Self {
        let profile = profile.into();
        let (env_prefix, mount_directory) = match profile.as_str() {
            "plain" => ("", "/etc/secrets"),
            "flyte-v1" => ("_FSEC_", "/etc/flyte/secrets"),
            _ => ("_UNION_", "/etc/flyte/secrets"),
        };
        Self { env_prefix: env_prefix.to_owned(), mount_directory: mount_directory.to_owned(), profile }
    }
}
