//! `add-image-pull-secret`: one more name that images are pulled with.
//!
//! The Secret itself is not looked at; the kubelet says what is wrong with it.

use serde_json::json;

use super::{ApplyError, validate};
use crate::edit::edited::EditedPod;

/// Adds the name unless it is there.
pub(super) fn add(name: &str, pod: &mut EditedPod<'_>) -> Result<(), ApplyError> {
    validate::require(!name.is_empty(), || "an image pull secret must have a name".to_owned())?;
    if pod.pull_secrets.named(name).is_none() {
        pod.pull_secrets.append(json!({ "name": name }));
    }
    Ok(())
}
