//! `mount-volume`: one volume in every container that does not mount it yet.
//!
//! A path that another volume has is never shared: the container would see only one of the two.

use serde_json::Value;

use super::{ApplyError, EditLog, Made, containers_mut, list, list_mut, name_of, validate, volume};
use crate::edit::VolumeMount;

impl EditLog<'_> {
    pub(super) fn mount_volume(
        &mut self,
        injector: &str,
        mount: &VolumeMount,
        pod: &mut Value,
    ) -> Result<(), ApplyError> {
        check(mount)?;
        validate::require(volume::exists(pod, &mount.volume), || {
            format!("mounts volume {}, which neither the pod nor an edit before this one has", mount.volume)
        })?;
        let wanted = mount.to_json();
        for container in containers_mut(pod) {
            let mounts = list(container, "volumeMounts");
            if mounts.iter().any(|existing| existing["name"] == mount.volume) {
                continue;
            }
            if let Some(other) = mounts.iter().find(|existing| same_path(existing, &mount.path)) {
                let other = other["name"].as_str().unwrap_or_default();
                let owner = self.owner(&Made::Volume(other.to_owned()));
                let container = name_of(container);
                return Err(ApplyError::Conflict(format!(
                    "container {container} has volume {other} of {owner} at {}, where injector {injector} wants volume {}",
                    mount.path, mount.volume
                )));
            }
            list_mut(container, "volumeMounts").push(wanted.clone());
        }
        Ok(())
    }
}

/// What a mount may say, for `mount-volume` and for an init container's own.
pub(super) fn check(mount: &VolumeMount) -> Result<(), ApplyError> {
    validate::mount_path(&mount.path)?;
    mount.sub_path.as_deref().map_or(Ok(()), |path| validate::relative_path("sub-path", path))
}

fn same_path(existing: &Value, path: &str) -> bool {
    existing["mountPath"].as_str().is_some_and(|existing| existing.trim_end_matches('/') == path.trim_end_matches('/'))
}
