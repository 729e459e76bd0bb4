//! `add-volume`: one volume, with the keys of one Secret merged into one volume.
//!
//! A volume that is there already is only ever added to, never narrowed.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{ApplyError, Content, EditLog, Kind, same::contains, validate};
use crate::{
    edit::{KeyToPath, SecretVolume, Volume, VolumeSource, edited::EditedPod},
    pod::list,
};

/// Kubernetes' default for the mode of a volume's files.
const DEFAULT_MODE: u32 = 0o644;

/// Kubernetes' default for the life of a service-account token.
const TOKEN_SECONDS: u32 = 3600;

impl EditLog {
    pub(super) fn add_volume(
        &mut self,
        by: &Arc<str>,
        volume: &Volume,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        check(volume)?;
        let wanted = volume.to_json().map_err(ApplyError::Invalid)?;
        let conflict = |log: &Self| {
            let owner = log.owner(Kind::Volume, &volume.name);
            ApplyError::Conflict(format!("volume {} of {owner} holds something else than {by} wants", volume.name))
        };
        let existing = pod.volumes.iter().enumerate().find(|(_, existing)| existing["name"] == volume.name);
        let Some((index, existing)) = existing else {
            pod.volumes.append(wanted);
            self.record(by, Kind::Volume, &volume.name, Content::Any);
            return Ok(());
        };
        let merged = match &volume.source {
            VolumeSource::Secret(secret) => {
                let owner = if self.made(Kind::Volume, &volume.name).is_some() { Owner::Edit } else { Owner::Pod };
                merge(&mut pod.volumes.to_mut()[index], secret, owner)
            }
            // A size limit comes back in Kubernetes' own spelling, so it is not compared.
            VolumeSource::Memory { .. } => existing["emptyDir"]["medium"] == "Memory",
            VolumeSource::Csi(_) | VolumeSource::ServiceAccountToken(_) => is(existing, &wanted),
            // Nobody knows which defaults belong into it.
            VolumeSource::Json(_) => contains(existing, &wanted),
        };
        if merged { Ok(()) } else { Err(conflict(self)) }
    }
}

/// Who put a volume into the pod.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Edit,
    Pod,
}

/// Adds the keys to a volume of the same Secret. False, and nothing changed, if it is another Secret's, a path is taken, or the
/// pod's author lets the pod start without it and the edit does not.
fn merge(existing: &mut Value, wanted: &SecretVolume, owner: Owner) -> bool {
    let secret = &mut existing["secret"];
    let becomes_required = !wanted.optional && secret["optional"] == true;
    if secret["secretName"] != wanted.secret_name || (becomes_required && owner == Owner::Pod) {
        return false;
    }
    let items = list(secret, "items").to_vec();
    let shows_all = items.is_empty();
    if shows_all != wanted.items.is_empty() && !(shows_all && wanted.items.iter().all(|item| item.key == item.path)) {
        return false;
    }
    let at = |item: &KeyToPath| items.iter().find(|existing| existing["path"] == item.path);
    if wanted.items.iter().any(|item| at(item).is_some_and(|existing| existing["key"] != item.key)) {
        return false;
    }
    if !shows_all {
        let missing = wanted.items.iter().filter(|item| at(item).is_none());
        let missing: Vec<_> = missing.map(|item| json!({ "key": item.key, "path": item.path })).collect();
        secret["items"].as_array_mut().into_iter().for_each(|items| items.extend(missing.iter().cloned()));
    }
    if becomes_required {
        secret["optional"] = json!(false);
    }
    true
}

/// Whether a volume holds this and nothing else, but for the defaults that an API server fills in.
fn is(existing: &Value, wanted: &Value) -> bool {
    let mut filled = wanted.clone();
    if let Some(projected) = filled.get_mut("projected") {
        projected["defaultMode"] = json!(DEFAULT_MODE);
        let token = &mut projected["sources"][0]["serviceAccountToken"];
        if token["expirationSeconds"].is_null() {
            token["expirationSeconds"] = json!(TOKEN_SECONDS);
        }
    }
    contains(existing, wanted) && contains(&filled, existing)
}

fn check(volume: &Volume) -> Result<(), ApplyError> {
    validate::dns_label("volume", &volume.name)?;
    match &volume.source {
        VolumeSource::Secret(secret) => {
            validate::require(!secret.secret_name.is_empty(), || {
                format!("volume {} must name its Secret", volume.name)
            })?;
            let mut paths = BTreeSet::new();
            secret.items.iter().try_for_each(|item| {
                validate::relative_path("path in a volume", &item.path)?;
                let new = paths.insert(&item.path);
                validate::require(new, || format!("volume {} gives path {:?} twice", volume.name, item.path))
            })
        }
        VolumeSource::ServiceAccountToken(token) => validate::relative_path("path in a volume", &token.path),
        VolumeSource::Memory { .. } | VolumeSource::Csi(_) | VolumeSource::Json(_) => Ok(()),
    }
}

/// Whether the pod has a volume of that name.
pub(super) fn exists(pod: &EditedPod<'_>, name: &str) -> bool {
    pod.volumes.named(name).is_some()
}
