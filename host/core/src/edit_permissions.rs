//! What an injector may change in a pod: [`EditPermissions`].
//!
//! An injector is code of a third party. Without permissions, its edits could replace the libraries
//! of a container (`LD_PRELOAD`), mount the node's files, or start an image of its choice. Names
//! that give such power are reserved: only a permission with the exact name covers them.

mod name_pattern;
mod reserved;

pub(crate) use self::reserved::is_variable as is_reserved_variable;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

pub use self::name_pattern::NamePattern;
use crate::{
    edit::{PodEdit, Volume, VolumeMount, VolumeSource},
    request::SecretRequest,
    text,
};

/// The edits that are permitted: for each kind, the permitted names. A kind without names is
/// forbidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EditPermissions {
    permitted: BTreeMap<EditKind, Vec<NamePattern>>,
}

/// The volumes that a plugin added in one admission, by name. It may mount them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddedVolumes(BTreeSet<String>);

/// A kind of edit that permissions name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EditKind {
    /// Environment variables of the pod's containers, by name.
    Variables,
    /// Volumes, by the kind of their content ([`EditPermissions::VOLUME_KINDS`]).
    Volumes,
    /// Mounts in the pod's containers, by path.
    Mounts,
    /// Mounts of volumes that the plugin did not add, by the name of the volume.
    PodVolumes,
    /// Init containers, by image.
    Images,
    /// Annotations of the pod, by key.
    Annotations,
    /// Image pull secrets, by name.
    ImagePullSecrets,
}

/// An edit that is not permitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the plugin answered with {what} \"{}\", which its permissions do not cover (edits.{})", text::escape_name(name), .kind.key())]
pub struct ForbiddenEdit {
    /// The kind whose permissions lack the name.
    pub kind: EditKind,
    what: &'static str,
    name: String,
}

// === impl EditPermissions ===

impl EditPermissions {
    /// The forms of a volume's kind. Other volumes have the name of their field in a Kubernetes
    /// `Volume`, such as `projected`.
    pub const VOLUME_KINDS: [&str; 4] = ["secret", "memory", "csi/DRIVER", "serviceAccountToken/AUDIENCE"];

    /// The name that permits an image pull secret from a promise.
    pub const FETCHED_PULL_SECRET: &str = "ampoule-promise";

    /// The permissions of a plugin that is not built in: references to Secrets, memory volumes,
    /// mounts below the directory of the conventions, and variables.
    #[must_use]
    pub fn ordinary(mount_directory: &str) -> Self {
        let below = [mount_directory, "/*"].concat();
        Self::default()
            .with(EditKind::Variables, ["*"])
            .with(EditKind::Volumes, ["secret", "memory"])
            .with(EditKind::Mounts, [mount_directory, &below])
    }

    /// The permissions of a built-in plugin, whose edits follow from its settings: also init
    /// containers, annotations, image pull secrets from promises, and mounts anywhere.
    #[must_use]
    pub fn builtin() -> Self {
        Self::default()
            .with(EditKind::Variables, ["*"])
            .with(EditKind::Volumes, ["secret", "memory"])
            .with(EditKind::Mounts, ["*"])
            .with(EditKind::Images, ["*"])
            .with(EditKind::Annotations, ["*"])
            .with(EditKind::ImagePullSecrets, [Self::FETCHED_PULL_SECRET])
    }

    fn with<const N: usize>(mut self, kind: EditKind, names: [&str; N]) -> Self {
        self.set(kind, names.iter().map(|name| NamePattern::new(name)).collect());
        self
    }

    /// Sets the permitted names of a kind.
    pub fn set(&mut self, kind: EditKind, names: Vec<NamePattern>) {
        // A kind without names is left out, so that equal permissions compare as equal.
        if names.is_empty() {
            self.permitted.remove(&kind);
        } else {
            self.permitted.insert(kind, names);
        }
    }

    /// Returns the permitted names of a kind.
    #[must_use]
    pub fn names(&self, kind: EditKind) -> &[NamePattern] {
        self.permitted.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// Returns what both permit.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for kind in EditKind::ALL {
            let mut names = covered(self.names(kind), other.names(kind));
            for name in covered(other.names(kind), self.names(kind)) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            both.set(kind, names);
        }
        both
    }

    /// Returns the first name of a kind that `most` does not permit.
    #[must_use]
    pub fn first_beyond(&self, kind: EditKind, most: &Self) -> Option<&NamePattern> {
        let is_covered = |name: &&NamePattern| most.names(kind).iter().any(|wider| wider.covers(name));
        self.names(kind).iter().find(|name| !is_covered(name))
    }

    /// Checks the edits that answer a request. `added` has the volumes of the plugin's earlier
    /// answers in this admission, and gains those of this one.
    ///
    /// # Errors
    ///
    /// The first edit that is not permitted.
    pub fn check(
        &self,
        edits: &[PodEdit],
        request: &SecretRequest,
        added: &mut AddedVolumes,
    ) -> Result<(), ForbiddenEdit> {
        // First, since an answer may mount a volume before it adds it.
        added.extend(edits);
        edits.iter().try_for_each(|edit| self.check_edit(edit, request, added))
    }

    fn check_edit(&self, edit: &PodEdit, request: &SecretRequest, added: &AddedVolumes) -> Result<(), ForbiddenEdit> {
        match edit {
            PodEdit::SetEnv(env) => self.check_variable(&env.name, request),
            PodEdit::AddVolume(volume) => self.check_volume(volume),
            PodEdit::MountVolume(mount) => {
                let is_reserved = reserved::is_mount(&mount.path);
                self.require(EditKind::Mounts, "a mount at", &mount.path, is_reserved)?;
                self.check_mounted_volume(mount, added)
            }
            // Its image decides about its own variables, and about the paths of its mounts.
            PodEdit::AddInitContainer(container) => {
                self.require(EditKind::Images, "an init container of the image", &container.image, false)?;
                container.mounts.iter().try_for_each(|mount| self.check_mounted_volume(mount, added))
            }
            PodEdit::SetAnnotation(annotation) => {
                self.require(EditKind::Annotations, "the annotation", &annotation.key, false)
            }
            PodEdit::AddImagePullSecret(name) => {
                self.require(EditKind::ImagePullSecrets, "the image pull secret", name, false)
            }
            // The mount of its directory.
            PodEdit::WriteFile(file) => {
                let directory = file.path.rsplit_once('/').map_or("", |(directory, _)| directory);
                self.require(EditKind::Mounts, "a file in", directory, reserved::is_mount(directory))
            }
            // Only the host makes it, for an answer that was checked.
            PodEdit::SetEnvFrom(_) => Ok(()),
            PodEdit::AddPullSecretValue(_) => {
                self.require(EditKind::ImagePullSecrets, "the image pull secret", Self::FETCHED_PULL_SECRET, false)
            }
        }
    }

    fn check_variable(&self, name: &str, request: &SecretRequest) -> Result<(), ForbiddenEdit> {
        // The pod's author could set the variable without the plugin.
        let is_requested = request.env_var.as_deref() == Some(name);
        self.require(EditKind::Variables, "the variable", name, !is_requested && reserved::is_variable(name))
    }

    /// The pod's own volumes may have the data of another container, or credentials.
    fn check_mounted_volume(&self, mount: &VolumeMount, added: &AddedVolumes) -> Result<(), ForbiddenEdit> {
        let name = &mount.volume;
        if added.0.contains(name) {
            return Ok(());
        }
        self.require(EditKind::PodVolumes, "a mount of the pod's volume", name, reserved::is_pod_volume(name))
    }

    fn check_volume(&self, volume: &Volume) -> Result<(), ForbiddenEdit> {
        let require = |kind: &str| {
            let is_reserved = reserved::is_volume(kind);
            self.require(EditKind::Volumes, "a volume of the kind", kind, is_reserved)
        };
        match &volume.source {
            VolumeSource::Secret(_) => require("secret"),
            VolumeSource::Memory { .. } => require("memory"),
            VolumeSource::Csi(csi) => require(&["csi/", &csi.driver].concat()),
            VolumeSource::ServiceAccountToken(token) => {
                require(&["serviceAccountToken/", token.audience.as_deref().unwrap_or_default()].concat())
            }
            // Text that is not an object is refused when it is applied.
            VolumeSource::Json(json) => {
                let source: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
                source.iter().try_for_each(|(field, content)| require(&kind_of_field(field, content)))
            }
        }
    }

    fn require(&self, kind: EditKind, what: &'static str, name: &str, is_reserved: bool) -> Result<(), ForbiddenEdit> {
        let mut names = self.names(kind).iter();
        let is_permitted = names.any(|permitted| permitted.matches(name) && (!is_reserved || permitted.is_exact()));
        if is_permitted { Ok(()) } else { Err(ForbiddenEdit { kind, what, name: name.to_owned() }) }
    }
}

/// The names that another list covers.
fn covered(names: &[NamePattern], by: &[NamePattern]) -> Vec<NamePattern> {
    names.iter().filter(|name| by.iter().any(|wider| wider.covers(name))).cloned().collect()
}

/// The kind of a volume that is given as JSON, by the field of a Kubernetes `Volume`.
fn kind_of_field(field: &str, content: &Value) -> String {
    match field {
        "csi" => ["csi/", content["driver"].as_str().unwrap_or_default()].concat(),
        _ => field.to_owned(),
    }
}

// === impl AddedVolumes ===

impl AddedVolumes {
    fn extend(&mut self, edits: &[PodEdit]) {
        let volumes = edits.iter().filter_map(|edit| match edit {
            PodEdit::AddVolume(volume) => Some(volume.name.clone()),
            _ => None,
        });
        self.0.extend(volumes);
    }
}

// === impl EditKind ===

impl EditKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Variables,
        Self::Volumes,
        Self::Mounts,
        Self::PodVolumes,
        Self::Images,
        Self::Annotations,
        Self::ImagePullSecrets,
    ];

    /// Returns the key of the configuration with the permitted names.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Variables => "variables",
            Self::Volumes => "volumes",
            Self::Mounts => "mounts",
            Self::PodVolumes => "podVolumes",
            Self::Images => "images",
            Self::Annotations => "annotations",
            Self::ImagePullSecrets => "imagePullSecrets",
        }
    }
}
