//! `mount-volume`: mounts one volume in every container that does not mount it yet.
//!
//! Two volumes never share a path, because the container would see only one of them.

use std::sync::Arc;

use serde_json::Value;

use super::{
    ApplyError, ClaimContent, ClaimKind, EditApplier, THE_POD, for_container, normalized_path, same::contains, validate,
};
use crate::edit::{VolumeMount, budget::operation_length, edited::EditedPod};

impl EditApplier<'_> {
    pub(super) fn mount_volume(
        &mut self,
        origin: &Arc<str>,
        mount: &VolumeMount,
        mut requested: Value,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        self.claim_path(origin, mount)?;
        self.budget.visit(pod.container_count())?;
        let bytes = operation_length(&requested);
        let path = normalized_path(&mount.path);
        let scope = self.scope.clone();
        let mut containers = pod.containers_in(&scope).peekable();
        while let Some(container) = containers.next() {
            let mounts = &container.mounts;
            if mounts.named(&mount.volume).is_some() {
                continue;
            }
            if let Some(other) = mounts.mounted_at(path) {
                let other = other["name"].as_str().unwrap_or_default();
                let owner = self.claim(ClaimKind::Volume, other).map(|claim| &*claim.origin);
                let advice = match owner {
                    Some(_) => "request one of them at another path",
                    None => "request the secret at another path, or mount the pod's own volume elsewhere",
                };
                let container = container.name();
                return Err(ApplyError::Conflict(format!(
                    "container {container} mounts volume {other} from {} at {}, \
                     where {origin} mounts volume {}; {advice}",
                    owner.unwrap_or(THE_POD),
                    mount.path,
                    mount.volume
                )));
            }
            self.budget.add(bytes)?;
            container.mounts.append(for_container(&mut requested, containers.peek().is_none()));
        }
        Ok(())
    }

    /// Claims the path for one volume in all containers, including containers that the edit leaves
    /// unchanged.
    fn claim_path(&mut self, origin: &Arc<str>, mount: &VolumeMount) -> Result<(), ApplyError> {
        let path = normalized_path(&mount.path);
        if let Some((volume, earlier)) = self.volumes_mounted_at(path).find(|(volume, _)| *volume != mount.volume) {
            return Err(ApplyError::Conflict(format!(
                "two volumes have the mount path {}: {volume} from {earlier}, \
                 {} from {origin}; a container can mount one of them: request them at different paths, or for \
                 different containers",
                mount.path, mount.volume
            )));
        }
        if !self.is_claimed_everywhere(ClaimKind::Mount, path) {
            self.record(origin, ClaimKind::Mount, path, ClaimContent::MountedVolume(mount.volume.clone()));
        }
        Ok(())
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
