//! `mount-volume`: one volume in every container that does not mount it yet.
//!
//! A path that another volume has is never shared: the container would see only one of the two.

use std::sync::Arc;

use serde_json::Value;

use super::{ApplyError, Content, EditLog, Kind, place, same::contains, validate, volume};
use crate::edit::{VolumeMount, edited::EditedPod};

impl EditLog {
    pub(super) fn mount_volume(
        &mut self,
        by: &Arc<str>,
        mount: &VolumeMount,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        check(mount)?;
        validate::require(volume::exists(pod, &mount.volume), || {
            format!("mounts volume {}, which neither the pod nor an edit before this one has", mount.volume)
        })?;
        self.claim_path(by, mount)?;
        let wanted = mount.to_json();
        for container in pod.containers_mut() {
            let mounts = &container.mounts;
            if mounts.iter().any(|existing| existing["name"] == mount.volume) {
                continue;
            }
            if let Some(other) = mounts.iter().find(|existing| same_path(existing, &mount.path)) {
                let other = other["name"].as_str().unwrap_or_default();
                let owner = self.owner(Kind::Volume, other);
                let container = container.name();
                return Err(ApplyError::Conflict(format!(
                    "container {container} has volume {other} of {owner} at {}, where {by} wants volume {}",
                    mount.path, mount.volume
                )));
            }
            container.mounts.append(wanted.clone());
        }
        Ok(())
    }

    /// One path is one volume's in every container, also in those where one of the two would be left alone.
    fn claim_path(&mut self, by: &Arc<str>, mount: &VolumeMount) -> Result<(), ApplyError> {
        let place = place(&mount.path);
        match self.mounted_at(place) {
            Some((volume, earlier)) if volume != mount.volume => Err(ApplyError::Conflict(format!(
                "path {} is wanted for different volumes, {volume} by {earlier} and {} by {by}",
                mount.path, mount.volume
            ))),
            Some(_) => Ok(()),
            None => {
                self.record(by, Kind::Mount, place, Content::Volume(mount.volume.clone()));
                Ok(())
            }
        }
    }

    /// The volume that an edit mounts at that place, and whose edit it is.
    pub(super) fn mounted_at(&self, place: &str) -> Option<(&str, &str)> {
        let entry = self.made(Kind::Mount, place)?;
        match &entry.content {
            Content::Volume(volume) => Some((volume, &entry.by)),
            Content::Any | Content::Variable(_) | Content::Variables(_) => None,
        }
    }
}

/// What a mount may say, for `mount-volume` and for an init container's own.
pub(super) fn check(mount: &VolumeMount) -> Result<(), ApplyError> {
    validate::mount_path(&mount.path)?;
    mount.sub_path.as_deref().map_or(Ok(()), |path| validate::relative_path("sub-path", path))
}

/// Whether a mount is the wanted one, and not one that may be written to where the other may not.
pub(super) fn is(existing: &Value, wanted: &Value) -> bool {
    let read_only = |mount: &Value| mount["readOnly"] == true;
    let [sub_path, wanted_sub_path] = [existing, wanted].map(|mount| mount["subPath"].as_str().unwrap_or_default());
    contains(existing, wanted) && read_only(existing) == read_only(wanted) && sub_path == wanted_sub_path
}

fn same_path(existing: &Value, path: &str) -> bool {
    existing["mountPath"].as_str().is_some_and(|existing| place(existing) == place(path))
}
