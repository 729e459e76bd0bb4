//! Section `edits` of an injector: what its plugin may change in a pod.
//!
//! Each list has names that are permitted. A list that is left out has the default of the source:
//! built-in plugins may do more than others.

use ampoule_core::{EditKind, EditPermissions, NamePattern};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// Maximum number of names in a list. Every edit is compared with each of them.
const MOST_NAMES: usize = 64;
/// Maximum length of a name in bytes: the longest image reference that Kubernetes accepts in
/// practice.
const MOST_BYTES: usize = 512;

/// What a plugin may change in a pod. A name that ends with `*` permits every name that starts with
/// the rest. An empty list forbids the kind of edit.
///
/// Some names are reserved, because they give power over the container or the node: variables such
/// as `LD_PRELOAD`, `PATH` and `HTTPS_PROXY`, mounts over the credentials of the service account,
/// `/proc`, `/sys` and `/dev`, volumes of the kind `hostPath`, and the pod's volume with the token
/// of its service account. `*` does not permit them; their exact name does. A variable that the
/// pod's author requests by name is not reserved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct EditsSection {
    /// Environment variables. The default is `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    variables: Option<Vec<String>>,
    /// Kinds of volumes: `secret`, `memory`, `csi/DRIVER`, `serviceAccountToken/AUDIENCE` (without
    /// an audience, that of the API server), or the field of a Kubernetes `Volume`, such as
    /// `projected`. The default is `secret` and `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    volumes: Option<Vec<String>>,
    /// Paths of mounts. The default is `conventions.mountDirectory` and every path below it; for a
    /// built-in plugin, every path.
    #[serde(skip_serializing_if = "Option::is_none")]
    mounts: Option<Vec<String>>,
    /// Names of volumes of the pod that the plugin may mount, in all containers and in its init
    /// containers, without adding them itself. By default, a plugin may mount only volumes that it
    /// adds for the same pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_volumes: Option<Vec<String>>,
    /// Images of init containers. A `*` follows `/`, `:` or `@`, or is the whole name. By default,
    /// only built-in plugins may add init containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<Vec<String>>,
    /// Keys of annotations. By default, only built-in plugins may set annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Vec<String>>,
    /// Names of image pull secrets; `ampoule-promise` permits those that the plugin fetches. By
    /// default, only built-in plugins may add the latter.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_pull_secrets: Option<Vec<String>>,
}

// === impl EditsSection ===

impl EditsSection {
    /// Returns the permissions; `base` has the lists that the section leaves out. The section is
    /// the value of `key`.
    ///
    /// # Errors
    ///
    /// The first name that is not valid.
    pub fn over(&self, base: &EditPermissions, key: &str) -> Result<EditPermissions, ConfigError> {
        let mut permissions = base.clone();
        for kind in EditKind::ALL {
            if let Some(names) = self.names(kind) {
                permissions.set(kind, check_names(kind, names, &format!("{key}.{}", kind.key()))?);
            }
        }
        Ok(permissions)
    }

    /// Returns the permissions of an injector of a ConfigMap, which do not exceed `most`.
    pub(crate) fn within(
        &self,
        base: &EditPermissions,
        most: &EditPermissions,
        key: &str,
    ) -> Result<EditPermissions, ConfigError> {
        let permissions = self.over(base, key)?;
        for kind in EditKind::ALL {
            if self.names(kind).is_none() {
                continue;
            }
            if let Some(name) = permissions.first_beyond(kind, most) {
                let (name, kind) = (name.to_string(), kind.key());
                let reason =
                    format!("{name:?} is not permitted to injectors of ConfigMaps (plugins.configMapEdits.{kind})");
                return Err(ConfigError::at(format!("{key}.{kind}"), reason));
            }
        }
        Ok(permissions.intersection(most))
    }

    fn names(&self, kind: EditKind) -> Option<&[String]> {
        let names = match kind {
            EditKind::Variables => &self.variables,
            EditKind::Volumes => &self.volumes,
            EditKind::Mounts => &self.mounts,
            EditKind::PodVolumes => &self.pod_volumes,
            EditKind::Images => &self.images,
            EditKind::Annotations => &self.annotations,
            EditKind::ImagePullSecrets => &self.image_pull_secrets,
        };
        names.as_deref()
    }
}

impl From<&EditPermissions> for EditsSection {
    fn from(permissions: &EditPermissions) -> Self {
        let names = |kind| Some(permissions.names(kind).iter().map(ToString::to_string).collect());
        Self {
            variables: names(EditKind::Variables),
            volumes: names(EditKind::Volumes),
            mounts: names(EditKind::Mounts),
            pod_volumes: names(EditKind::PodVolumes),
            images: names(EditKind::Images),
            annotations: names(EditKind::Annotations),
            image_pull_secrets: names(EditKind::ImagePullSecrets),
        }
    }
}

fn check_names(kind: EditKind, names: &[String], key: &str) -> Result<Vec<NamePattern>, ConfigError> {
    if names.len() > MOST_NAMES {
        return Err(ConfigError::at(key, format!("has {} names; the limit is {MOST_NAMES}", names.len())));
    }
    let check = |(i, name): (usize, &String)| {
        check_name(kind, name).map_err(|reason| ConfigError::at(format!("{key}[{i}]"), reason))
    };
    names.iter().enumerate().map(check).collect()
}

fn check_name(kind: EditKind, name: &str) -> Result<NamePattern, String> {
    if name.is_empty() {
        return Err("is empty; `*` permits every name".to_owned());
    }
    if name.len() > MOST_BYTES {
        return Err(format!("has {} bytes; the limit is {MOST_BYTES}", name.len()));
    }
    let pattern = NamePattern::new(name);
    if pattern.text().contains('*') {
        return Err(format!("{name:?} has a `*` that is not at its end"));
    }
    let is_any = pattern.text().is_empty();
    if kind == EditKind::Mounts && !is_any && !name.starts_with('/') {
        return Err(format!("{name:?} is not an absolute path"));
    }
    // `registry.example*` would also permit `registry.example.attacker.example`.
    if kind == EditKind::Images && !pattern.is_exact() && !is_any && !pattern.text().ends_with(['/', ':', '@']) {
        return Err(format!("{name:?} has a `*` that does not follow `/`, `:` or `@`"));
    }
    // `/etc/secrets*` would also permit `/etc/secrets-of-the-image`.
    if kind == EditKind::Mounts && !pattern.is_exact() && !is_any && !pattern.text().ends_with('/') {
        return Err(format!("{name:?} has a `*` that does not follow `/`"));
    }
    Ok(pattern)
}
