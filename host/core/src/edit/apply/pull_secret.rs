//! `add-image-pull-secret`: adds one name to `imagePullSecrets`.
//!
//! The Secret itself is not checked; the kubelet reports errors in it.

use serde_json::json;

use super::{ApplyError, validate};
use crate::edit::edited::EditedPod;

/// Adds the name unless the pod already has it.
pub(super) fn add(name: &str, pod: &mut EditedPod<'_>) -> Result<(), ApplyError> {
    validate::require(!name.is_empty(), || "image pull secret name must not be empty".to_owned())?;
    if pod.pull_secrets.named(name).is_none() {
        pod.pull_secrets.append(json!({ "name": name }));
    }
    Ok(())
}
