//! `set-env`: one variable in every container, placed as the profile says.
//!
//! Two edits of one admission may not give one name two values; the pod's own value yields or stays, by profile.

use std::sync::Arc;

use serde_json::Value;

use super::{ApplyError, Content, EditLog, Kind, same::contains, validate};
use crate::{
    EnvPlacement,
    edit::{EnvVar, edited::EditedPod, list::EditedList},
};

impl EditLog {
    pub(super) fn set_env(
        &mut self,
        by: &Arc<str>,
        env: &EnvVar,
        pod: &mut EditedPod<'_>,
        placement: EnvPlacement,
    ) -> Result<(), ApplyError> {
        validate::env_name(&env.name)?;
        let entry = env.to_json().map_err(ApplyError::Invalid)?;
        let first = self.claim_variable(by, env, &entry)?;
        for container in pod.containers_mut() {
            // Its work depends on it, whatever the profile says of the pod's own.
            if self.has_its_own(container.name(), &env.name) {
                continue;
            }
            let is_there = container.env.named(&env.name).is_some();
            let differs = |own: &Value| own["name"] == env.name && !says(own, &entry);
            if first && is_there && container.env.iter().any(differs) {
                self.own_variables.entry(env.name.clone()).or_default().push(container.name().to_owned());
            }
            match (placement, is_there) {
                (EnvPlacement::AppendIfAbsent, true) => {}
                (EnvPlacement::AppendIfAbsent, false) => container.env.append(entry.clone()),
                (EnvPlacement::ReplaceAndPrepend, false) => container.env.prepend(entry.clone()),
                (EnvPlacement::ReplaceAndPrepend, true) => replace_and_prepend(&mut container.env, &env.name, &entry),
            }
        }
        Ok(())
    }

    /// Whether this is the first edit that sets the variable. The values are not shown: one may be a secret's.
    fn claim_variable(&mut self, by: &Arc<str>, env: &EnvVar, entry: &Value) -> Result<bool, ApplyError> {
        let Some(earlier) = self.made(Kind::Env, &env.name) else {
            self.record(by, Kind::Env, &env.name, Content::Variable(env.clone()));
            return Ok(true);
        };
        match &earlier.content {
            Content::Variable(wanted) if wanted == env || wanted.to_json().as_ref() == Ok(entry) => Ok(false),
            _ => Err(ApplyError::Conflict(format!(
                "environment variable {} is wanted for different values, by {} and by {by}",
                env.name, earlier.by
            ))),
        }
    }
}

/// An entry that says the same already moves as it is, so that no default that it got is lost.
fn replace_and_prepend(list: &mut EditedList<'_>, name: &str, entry: &Value) {
    let existing = list.iter().find(|existing| existing["name"] == name && says(existing, entry));
    let entry = existing.unwrap_or(entry).clone();
    let list = list.to_mut();
    list.retain(|existing| existing["name"] != name);
    list.insert(0, entry);
}

/// Whether an entry gives the variable this very value. An empty value may be left out.
pub(super) fn says(existing: &Value, entry: &Value) -> bool {
    let [text, wanted_text] = [existing, entry].map(|entry| entry["value"].as_str().unwrap_or_default());
    let (from, wanted) = (&existing["valueFrom"], &entry["valueFrom"]);
    text == wanted_text && from.is_null() == wanted.is_null() && contains(from, wanted)
}
