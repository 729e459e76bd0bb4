//! `add-image-pull-secret`: adds one name to `imagePullSecrets`.
//!
//! The Secret itself is not checked; the kubelet reports errors in it.

use serde_json::Value;

use super::{ApplyError, EditApplier};
use crate::edit::{budget::operation_length, edited::EditedPod};

impl EditApplier<'_> {
    /// Adds the name unless the pod already has it.
    pub(super) fn add_pull_secret(
        &mut self,
        name: &str,
        requested: Value,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        if pod.pull_secrets.named(name).is_none() {
            self.budget.add(operation_length(&requested))?;
            pod.pull_secrets.append(requested);
        }
        Ok(())
    }
}
