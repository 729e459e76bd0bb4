//! `envFrom`: a variable for each key of a Secret, in every container.
//!
//! A later entry of the list overrides an earlier one, and `env` overrides all of them.

use serde_json::Value;

use super::{ApplyError, EditApplier, for_container};
use crate::{
    edit::{budget::operation_length, edited::EditedPod},
    profile::EnvPlacement,
};

impl EditApplier<'_> {
    pub(super) fn set_env_from(
        &mut self,
        mut entry: Value,
        pod: &mut EditedPod<'_>,
        placement: EnvPlacement,
    ) -> Result<(), ApplyError> {
        let bytes = operation_length(&entry);
        let scope = self.scope.clone();
        let mut containers = pod.containers_in(&scope).peekable();
        while let Some(container) = containers.next() {
            let list = &mut container.env_from;
            self.budget.visit(list.len() + 1)?;
            if list.values().any(|existing| is_same(existing, &entry)) {
                continue;
            }
            self.budget.add(bytes)?;
            let entry = for_container(&mut entry, containers.peek().is_none());
            match placement {
                // The pod's own variables stay.
                EnvPlacement::AppendIfAbsent | EnvPlacement::PrependIfAbsent => list.prepend(entry),
                EnvPlacement::ReplaceAndPrepend => list.append(entry),
            }
        }
        Ok(())
    }
}

/// Whether two entries have the same Secret and prefix. An entry of the pod keeps its `optional`.
fn is_same(existing: &Value, requested: &Value) -> bool {
    let prefix = |entry: &Value| entry["prefix"].as_str().unwrap_or_default().to_owned();
    prefix(existing) == prefix(requested) && existing["secretRef"]["name"] == requested["secretRef"]["name"]
}
