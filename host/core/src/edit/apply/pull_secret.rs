//! `add-image-pull-secret`: one more name that images are pulled with.
//!
//! The Secret itself is not looked at; the kubelet says what is wrong with it.

use serde_json::{Value, json};

use super::{ApplyError, list, list_mut, named, validate};

/// Adds the name unless it is there.
pub(super) fn add(name: &str, pod: &mut Value) -> Result<(), ApplyError> {
    validate::require(!name.is_empty(), || "an image pull secret must have a name".to_owned())?;
    let spec = &mut pod["spec"];
    if named(list(spec, "imagePullSecrets"), name).is_none() {
        list_mut(spec, "imagePullSecrets").push(json!({ "name": name }));
    }
    Ok(())
}
