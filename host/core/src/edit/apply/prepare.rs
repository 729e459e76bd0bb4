//! Validates the edits of an answer, independent of the containers of the pod, and converts them to
//! Kubernetes' JSON: [`all`].
//!
//! All edits are validated before the first one is applied, so that an answer of a faulty plugin
//! changes nothing.

use serde_json::{Value, json};

use super::{ApplyError, annotation, init_container, mount, validate, volume, write_file};
use crate::edit::{PodEdit, VolumeMount, edited::EditedPod, list::EditedList};

/// A valid edit, and its JSON.
pub(super) struct PreparedEdit<'e> {
    pub(super) edit: &'e PodEdit,
    /// The element of the list, or the value of the annotation.
    pub(super) json: Value,
}

/// The volumes that exist when an edit is applied.
struct Volumes<'v, 'e> {
    existing: &'v EditedList<'v>,
    added: Vec<&'e str>,
}

/// Prepares all edits of an answer, or returns the error of the first invalid one.
pub(super) fn all<'e>(edits: &'e [PodEdit], pod: &EditedPod<'_>) -> Result<Vec<PreparedEdit<'e>>, ApplyError> {
    let mut volumes = Volumes { existing: &pod.volumes, added: Vec::new() };
    let mut prepared = Vec::with_capacity(edits.len());
    for edit in edits {
        check(edit)?;
        volumes.require_all(edit)?;
        if let PodEdit::AddVolume(volume) = edit {
            volumes.added.push(&volume.name);
        }
        prepared.push(PreparedEdit { edit, json: to_json(edit)? });
    }
    Ok(prepared)
}

/// Checks an edit, independent of the pod.
pub(crate) fn check(edit: &PodEdit) -> Result<(), ApplyError> {
    match edit {
        PodEdit::SetEnv(env) => validate::env_name(&env.name),
        PodEdit::AddVolume(volume) => volume::check(volume),
        PodEdit::MountVolume(mount) => mount::check(mount),
        PodEdit::AddInitContainer(container) => init_container::check(container),
        PodEdit::SetAnnotation(annotation) => annotation::check(annotation),
        PodEdit::AddImagePullSecret(name) => {
            validate::require(!name.is_empty(), || "image pull secret name must not be empty".to_owned())
        }
        PodEdit::WriteFile(file) => write_file::check(&file.path, file.mode),
        PodEdit::AddPullSecretValue(_) => Ok(()),
        PodEdit::SetEnvFrom(all) => {
            validate::require(!all.secret.is_empty(), || "the variables must name a Secret".to_owned())
        }
    }
}

fn to_json(edit: &PodEdit) -> Result<Value, ApplyError> {
    match edit {
        PodEdit::SetEnv(env) => env.to_json().map_err(ApplyError::Invalid),
        PodEdit::SetEnvFrom(all) => Ok(all.to_json()),
        PodEdit::AddVolume(volume) => volume.to_json().map_err(ApplyError::Invalid),
        PodEdit::MountVolume(mount) => Ok(mount.to_json()),
        PodEdit::AddInitContainer(container) => container.to_json().map_err(ApplyError::Invalid),
        PodEdit::SetAnnotation(annotation) => Ok(json!(annotation.value)),
        PodEdit::AddImagePullSecret(name) => Ok(json!({ "name": name })),
        // The JSON depends on the volume of the pod.
        PodEdit::WriteFile(_) | PodEdit::AddPullSecretValue(_) => Ok(Value::Null),
    }
}

// === impl Volumes ===

impl Volumes<'_, '_> {
    /// Fails unless every volume that the edit mounts exists.
    fn require_all(&self, edit: &PodEdit) -> Result<(), ApplyError> {
        match edit {
            PodEdit::MountVolume(mount) => self.require(mount, "cannot mount"),
            PodEdit::AddInitContainer(container) => {
                let mounts = format!("init container {} mounts", container.name);
                container.mounts.iter().try_for_each(|mount| self.require(mount, &mounts))
            }
            _ => Ok(()),
        }
    }

    /// Fails unless the pod or an earlier edit defines the volume of a mount.
    fn require(&self, mount: &VolumeMount, action: &str) -> Result<(), ApplyError> {
        let name = &mount.volume;
        let exists = self.existing.named(name).is_some() || self.added.contains(&name.as_str());
        validate::require(exists, || {
            format!("{action} volume {name}, which neither the pod nor an earlier edit defines")
        })
    }
}
