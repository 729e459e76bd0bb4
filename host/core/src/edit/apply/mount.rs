//! `mount-volume`: one volume in every container that does not mount it yet.
//!
//! A path that another volume has is never shared: the container would see only one of the two.

use serde_json::Value;

use super::{
    ApplyError, EditLog, Kind, containers_mut, list, list_mut, name_of, place, same::contains, validate, volume,
};
use crate::edit::VolumeMount;

impl EditLog<'_> {
    pub(super) fn mount_volume(&mut self, by: &str, mount: &VolumeMount, pod: &mut Value) -> Result<(), ApplyError> {
        check(mount)?;
        validate::require(volume::exists(pod, &mount.volume), || {
            format!("mounts volume {}, which neither the pod nor an edit before this one has", mount.volume)
        })?;
        self.claim_path(by, mount)?;
        let wanted = mount.to_json();
        for container in containers_mut(pod) {
            let mounts = list(container, "volumeMounts");
            if mounts.iter().any(|existing| existing["name"] == mount.volume) {
                continue;
            }
            if let Some(other) = mounts.iter().find(|existing| same_path(existing, &mount.path)) {
                let other = other["name"].as_str().unwrap_or_default();
                let owner = self.owner(Kind::Volume, other);
                let container = name_of(container);
                return Err(ApplyError::Conflict(format!(
                    "container {container} has volume {other} of {owner} at {}, where {by} wants volume {}",
                    mount.path, mount.volume
                )));
            }
            list_mut(container, "volumeMounts").push(wanted.clone());
        }
        Ok(())
    }

    /// One path is one volume's in every container, also in those where one of the two would be left alone.
    fn claim_path(&mut self, by: &str, mount: &VolumeMount) -> Result<(), ApplyError> {
        let place = place(&mount.path);
        match self.made(Kind::Mount, place) {
            Some(earlier) if earlier.content != mount.volume => Err(ApplyError::Conflict(format!(
                "path {} is wanted for different volumes, {} by {} and {} by {by}",
                mount.path,
                earlier.content.as_str().unwrap_or_default(),
                earlier.by,
                mount.volume
            ))),
            Some(_) => Ok(()),
            None => {
                self.record(by, Kind::Mount, place, Value::from(mount.volume.as_str()));
                Ok(())
            }
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
    let sub_path = |mount: &Value| mount["subPath"].as_str().unwrap_or_default().to_owned();
    contains(existing, wanted) && read_only(existing) == read_only(wanted) && sub_path(existing) == sub_path(wanted)
}

fn same_path(existing: &Value, path: &str) -> bool {
    existing["mountPath"].as_str().is_some_and(|existing| place(existing) == place(path))
}
