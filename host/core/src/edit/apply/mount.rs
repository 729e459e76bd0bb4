//! `mount-volume`: mounts one volume in every container that does not mount it yet.
//!
//! Two volumes never share a path, because the container would see only one of them.

use std::sync::Arc;

use serde_json::Value;

use super::{ApplyError, ClaimContent, ClaimKind, EditApplier, normalized_path, same::contains, validate, volume};
use crate::edit::{VolumeMount, edited::EditedPod};

impl EditApplier {
    pub(super) fn mount_volume(
        &mut self,
        origin: &Arc<str>,
        mount: &VolumeMount,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        check(mount)?;
        validate::require(volume::exists(pod, &mount.volume), || {
            format!("cannot mount volume {}, which neither the pod nor an earlier edit defines", mount.volume)
        })?;
        self.claim_path(origin, mount)?;
        let requested = mount.to_json();
        for container in pod.containers_mut() {
            let mounts = &container.mounts;
            if mounts.iter().any(|existing| existing["name"] == mount.volume) {
                continue;
            }
            if let Some(other) = mounts.iter().find(|existing| is_mounted_at(existing, &mount.path)) {
                let other = other["name"].as_str().unwrap_or_default();
                let owner = self.owner(ClaimKind::Volume, other);
                let container = container.name();
                return Err(ApplyError::Conflict(format!(
                    "container {container} mounts volume {other} from {owner} at {}, \
                     where {origin} mounts volume {}",
                    mount.path, mount.volume
                )));
            }
            container.mounts.append(requested.clone());
        }
        Ok(())
    }

    /// Claims the path for one volume in all containers, including containers that the edit leaves
    /// unchanged.
    fn claim_path(&mut self, origin: &Arc<str>, mount: &VolumeMount) -> Result<(), ApplyError> {
        let path = normalized_path(&mount.path);
        match self.volume_mounted_at(path) {
            Some((volume, earlier)) if volume != mount.volume => Err(ApplyError::Conflict(format!(
                "mount path {} has different volumes: {volume} from {earlier}, \
                 {} from {origin}",
                mount.path, mount.volume
            ))),
            Some(_) => Ok(()),
            None => {
                self.record(origin, ClaimKind::Mount, path, ClaimContent::MountedVolume(mount.volume.clone()));
                Ok(())
            }
        }
    }
}

/// Checks the paths of a mount, for `mount-volume` and for the mounts of an init container.
pub(super) fn check(mount: &VolumeMount) -> Result<(), ApplyError> {
    validate::mount_path(&mount.path)?;
    mount.sub_path.as_deref().map_or(Ok(()), |path| validate::relative_path("sub-path", path))
}

/// Whether a mount is equal to the requested one, including its access mode.
pub(super) fn is_same_mount(existing: &Value, requested: &Value) -> bool {
    contains(existing, requested)
        && is_read_only(existing) == is_read_only(requested)
        && sub_path(existing) == sub_path(requested)
}

fn is_read_only(mount: &Value) -> bool {
    mount["readOnly"] == true
}

fn sub_path(mount: &Value) -> &str {
    mount["subPath"].as_str().unwrap_or_default()
}

fn is_mounted_at(existing: &Value, path: &str) -> bool {
    existing["mountPath"].as_str().is_some_and(|existing| normalized_path(existing) == normalized_path(path))
}
