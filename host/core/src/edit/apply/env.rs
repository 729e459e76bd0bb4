//! `set-env`: one variable in every container, placed as the profile says.
//!
//! Two edits of one admission may not give one name two values; the pod's own value yields or stays, by profile.

use serde_json::Value;

use super::{ApplyError, EditLog, Kind, containers_mut, list, list_mut, name_of, same::contains, validate};
use crate::{EnvPlacement, edit::EnvVar};

impl EditLog<'_> {
    pub(super) fn set_env(
        &mut self,
        by: &str,
        env: &EnvVar,
        pod: &mut Value,
        placement: EnvPlacement,
    ) -> Result<(), ApplyError> {
        validate::env_name(&env.name)?;
        let entry = env.to_json().map_err(ApplyError::Invalid)?;
        self.check_claim(by, &env.name, &entry)?;
        let first = self.made(Kind::Env, &env.name).is_none();
        for container in containers_mut(pod) {
            // Its work depends on it, whatever the profile says of the pod's own.
            if self.has_its_own(name_of(container), &env.name) {
                continue;
            }
            if first && list(container, "env").iter().any(|own| own["name"] == env.name && !says(own, &entry)) {
                self.own_variables.entry(env.name.clone()).or_default().push(name_of(container).to_owned());
            }
            let list = list_mut(container, "env");
            match placement {
                EnvPlacement::AppendIfAbsent => append_if_absent(list, &env.name, &entry),
                EnvPlacement::ReplaceAndPrepend => replace_and_prepend(list, &env.name, &entry),
            }
        }
        if first {
            self.record(by, Kind::Env, &env.name, entry);
        }
        Ok(())
    }

    /// The values are not shown: one may be a secret's.
    fn check_claim(&self, by: &str, name: &str, entry: &Value) -> Result<(), ApplyError> {
        match self.made(Kind::Env, name).filter(|earlier| earlier.content != *entry) {
            None => Ok(()),
            Some(earlier) => Err(ApplyError::Conflict(format!(
                "environment variable {name} is wanted for different values, by {} and by {by}",
                earlier.by
            ))),
        }
    }
}

fn append_if_absent(list: &mut Vec<Value>, name: &str, entry: &Value) {
    if !list.iter().any(|existing| existing["name"] == name) {
        list.push(entry.clone());
    }
}

/// An entry that says the same already moves as it is, so that no default that it got is lost.
fn replace_and_prepend(list: &mut Vec<Value>, name: &str, entry: &Value) {
    let existing = list.iter().find(|existing| existing["name"] == name && says(existing, entry));
    let entry = existing.unwrap_or(entry).clone();
    list.retain(|existing| existing["name"] != name);
    list.insert(0, entry);
}

/// Whether an entry gives the variable this very value. An empty value may be left out.
pub(super) fn says(existing: &Value, entry: &Value) -> bool {
    let text = |entry: &Value| entry["value"].as_str().unwrap_or_default().to_owned();
    let (from, wanted) = (&existing["valueFrom"], &entry["valueFrom"]);
    text(existing) == text(entry) && from.is_null() == wanted.is_null() && contains(from, wanted)
}
