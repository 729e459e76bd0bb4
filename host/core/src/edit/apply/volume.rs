//! `add-volume`: adds one volume, and merges the keys of one Secret into one volume.
//!
//! An existing volume can gain keys, but never loses any.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{ApplyError, ClaimContent, ClaimKind, EditApplier, same::contains, validate};
use crate::{
    edit::{KeyToPath, SecretVolume, Volume, VolumeSource, budget::operation_length, edited::EditedPod},
    pod::list,
};

/// Kubernetes' default mode of files in a volume.
const DEFAULT_MODE: u32 = 0o644;

/// Kubernetes' default lifetime of a service-account token.
const TOKEN_SECONDS: u32 = 3600;

impl EditApplier<'_> {
    pub(super) fn add_volume(
        &mut self,
        origin: &Arc<str>,
        volume: &Volume,
        requested: Value,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        let Some(existing) = pod.volumes.named(&volume.name) else {
            self.budget.add(operation_length(&requested))?;
            pod.volumes.append(requested);
            self.record(origin, ClaimKind::Volume, &volume.name, ClaimContent::Any);
            return Ok(());
        };
        let is_merged = match &volume.source {
            VolumeSource::Secret(secret) => {
                let owner = self.volume_owner(&volume.name);
                self.budget.visit(list(&existing["secret"], "items").len() * secret.items.len().max(1))?;
                self.budget.add(operation_length(&requested))?;
                pod.volumes.named_mut(&volume.name).is_some_and(|existing| merge(existing, secret, owner))
            }
            // Kubernetes may rewrite the size limit, so it is not compared.
            VolumeSource::Memory { .. } => existing["emptyDir"]["medium"] == "Memory",
            VolumeSource::Csi(_) | VolumeSource::ServiceAccountToken(_) => is_same_volume(existing, &requested),
            // The defaults of an arbitrary source are unknown.
            VolumeSource::Json(_) => contains(existing, &requested),
        };
        if is_merged {
            return Ok(());
        }
        let (owner, name) = (self.owner(ClaimKind::Volume, &volume.name), &volume.name);
        let advice = match self.volume_owner(name) {
            VolumeOwner::Pod => "; give the pod's own volume another name",
            // The names of volumes are the injectors' own.
            VolumeOwner::Edit => "",
        };
        let text = format!("volume {name} has different definitions from {owner} and {origin}{advice}");
        Err(ApplyError::Conflict(text))
    }

    fn volume_owner(&self, name: &str) -> VolumeOwner {
        match self.claim(ClaimKind::Volume, name) {
            Some(_) => VolumeOwner::Edit,
            None => VolumeOwner::Pod,
        }
    }
}

/// The side that added a volume to the pod.
#[derive(Clone, Copy, PartialEq, Eq)]
enum VolumeOwner {
    Edit,
    Pod,
}

/// Adds keys to a volume of the same Secret.
///
/// Returns false, and changes nothing, if the volume has a different Secret, if a path has a
/// different key, or if the pod's author made the Secret optional and the edit requires it.
fn merge(existing: &mut Value, requested: &SecretVolume, owner: VolumeOwner) -> bool {
    let secret = &mut existing["secret"];
    let becomes_required = !requested.optional && secret["optional"] == true;
    if secret["secretName"] != requested.secret_name || (becomes_required && owner == VolumeOwner::Pod) {
        return false;
    }
    let items = list(secret, "items");
    let has_all_keys = items.is_empty();
    if has_all_keys != requested.items.is_empty() && !(has_all_keys && requested.items.iter().all(is_at_default_path)) {
        return false;
    }
    let mut missing = Vec::new();
    for item in &requested.items {
        match items.iter().find(|existing| existing["path"] == item.path) {
            Some(existing) if existing["key"] != item.key => return false,
            Some(_) => {}
            None if has_all_keys => {}
            None => missing.push(json!({ "key": item.key, "path": item.path })),
        }
    }
    if !missing.is_empty()
        && let Some(items) = secret["items"].as_array_mut()
    {
        items.append(&mut missing);
    }
    if becomes_required {
        secret["optional"] = json!(false);
    }
    true
}

/// Whether the file has the name that it has in a volume with all keys.
fn is_at_default_path(item: &KeyToPath) -> bool {
    item.key == item.path
}

/// Whether a volume has the requested content and nothing else, except defaults of the API server.
fn is_same_volume(existing: &Value, requested: &Value) -> bool {
    let mut with_defaults = requested.clone();
    if let Some(projected) = with_defaults.get_mut("projected") {
        if projected["defaultMode"].is_null() {
            projected["defaultMode"] = json!(DEFAULT_MODE);
        }
        let token = &mut projected["sources"][0]["serviceAccountToken"];
        if token["expirationSeconds"].is_null() {
            token["expirationSeconds"] = json!(TOKEN_SECONDS);
        }
    }
    contains(existing, requested) && contains(&with_defaults, existing)
}

/// Checks the names and paths of a volume.
pub(super) fn check(volume: &Volume) -> Result<(), ApplyError> {
    validate::dns_label("volume", &volume.name)?;
    match &volume.source {
        VolumeSource::Secret(secret) => check_secret(&volume.name, secret),
        VolumeSource::ServiceAccountToken(token) => validate::relative_path("path in a volume", &token.path),
        VolumeSource::Memory { .. } | VolumeSource::Csi(_) | VolumeSource::Json(_) => Ok(()),
    }
}

fn check_secret(name: &str, secret: &SecretVolume) -> Result<(), ApplyError> {
    validate::require(!secret.secret_name.is_empty(), || format!("volume {name} must name a Secret"))?;
    let mut paths = BTreeSet::new();
    for item in &secret.items {
        validate::relative_path("path in a volume", &item.path)?;
        validate::require(paths.insert(&item.path), || format!("volume {name} has duplicate path {:?}", item.path))?;
    }
    Ok(())
}
