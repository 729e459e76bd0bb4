//! `add-image-pull-secret`: adds one name to `imagePullSecrets`.
//!
//! The Secret itself is not checked; the kubelet reports errors in it.

use serde_json::Value;

use super::{ApplyError, EditApplier};
use crate::{
    edit::{budget::operation_length, edited::EditedPod},
    generated_name::GeneratedName,
};

impl EditApplier<'_> {
    /// Adds the name unless the pod already has it. The name of a Secret that an earlier review
    /// generated for the same injector is replaced, if this review does not use it.
    pub(super) fn add_pull_secret(
        &mut self,
        name: &str,
        requested: Value,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        self.pull_secrets.insert(name.to_owned());
        if pod.pull_secrets.named(name).is_none() {
            self.budget.visit(pod.pull_secrets.len())?;
            let used = &self.pull_secrets;
            pod.pull_secrets.remove_all_named(|old| GeneratedName::are_related(old, name) && !used.contains(old));
            self.budget.add(operation_length(&requested))?;
            pod.pull_secrets.append(requested);
        }
        Ok(())
    }
}
