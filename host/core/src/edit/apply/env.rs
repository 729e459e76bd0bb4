//! `set-env`: sets one variable in every container, at the position of the conventions.
//!
//! Two edits of one admission must not set one name to two values. The conventions decide whether
//! the pod's own value stays.

use std::sync::Arc;

use serde_json::Value;

use super::{ApplyError, ClaimContent, ClaimKind, EditApplier, for_container, same::contains};
use crate::{
    edit::{
        EnvVar,
        budget::operation_length,
        edited::{EditedContainer, EditedPod},
        list::EditedList,
    },
    generated_name::GeneratedName,
    profile::EnvPlacement,
};

impl EditApplier<'_> {
    pub(super) fn set_env(
        &mut self,
        origin: &Arc<str>,
        env: &EnvVar,
        mut entry: Value,
        pod: &mut EditedPod<'_>,
        placement: EnvPlacement,
    ) -> Result<(), ApplyError> {
        let is_first = self.claim_variable(origin, env, &entry)?;
        self.budget.visit(pod.container_count())?;
        let bytes = operation_length(&entry);
        let scope = self.scope.clone();
        let adds_containers = self.claims.contains_key(&ClaimKind::InitContainer);
        let mut containers = pod.containers_in(&scope).peekable();
        while let Some(container) = containers.next() {
            // An injected container depends on its own variables, independent of the conventions.
            if adds_containers && self.is_own_variable(container.name(), &env.name) {
                continue;
            }
            let existing = container.env.named(&env.name);
            let is_present = existing.is_some();
            let is_outdated = existing.is_some_and(|existing| is_outdated(existing, &entry));
            if is_first && is_present && !is_outdated && has_other_value(container, &env.name, &entry) {
                let containers = self.variable_collisions.entry(env.name.clone()).or_default();
                containers.push(container.name().to_owned());
            }
            match (placement, is_present) {
                (EnvPlacement::AppendIfAbsent | EnvPlacement::PrependIfAbsent, true) if is_outdated => {
                    self.budget.add(bytes)?;
                    if let Some(existing) = container.env.named_mut(&env.name) {
                        *existing = for_container(&mut entry, containers.peek().is_none());
                    }
                }
                (EnvPlacement::AppendIfAbsent | EnvPlacement::PrependIfAbsent, true) => {}
                (EnvPlacement::AppendIfAbsent, false) => {
                    self.budget.add(bytes)?;
                    container.env.append(for_container(&mut entry, containers.peek().is_none()));
                }
                (EnvPlacement::ReplaceAndPrepend | EnvPlacement::PrependIfAbsent, false) => {
                    self.budget.add(bytes)?;
                    container.env.prepend(for_container(&mut entry, containers.peek().is_none()));
                }
                (EnvPlacement::ReplaceAndPrepend, true) => {
                    self.move_to_front(&mut container.env, &env.name, &entry)?;
                }
            }
        }
        Ok(())
    }

    /// Replaces the variables of this name that have the text of a reference, at their places. A
    /// variable that an earlier review replaced stays, unless its Secret is outdated.
    pub(super) fn replace_env(
        &mut self,
        origin: &Arc<str>,
        env: &EnvVar,
        entry: &Value,
        pod: &mut EditedPod<'_>,
    ) -> Result<(), ApplyError> {
        self.claim_variable(origin, env, entry)?;
        self.budget.visit(pod.container_count())?;
        let (scope, text) = (self.scope.clone(), self.replaces.clone());
        let is_replaced = |existing: &Value| {
            let has_text = existing["valueFrom"].is_null() && existing["value"].as_str() == text.as_deref();
            has_text || is_outdated(existing, entry)
        };
        for container in pod.containers_in(&scope) {
            let count = container.env.count_named(&env.name);
            self.budget.visit(count)?;
            let wanted = container.env.all_named(&env.name).filter(|existing| is_replaced(existing)).count();
            for _ in 0..wanted {
                self.budget.add(operation_length(entry))?;
            }
            container.env.replace_named(&env.name, is_replaced, entry);
        }
        Ok(())
    }

    /// Moves an existing entry with the same value unchanged, to keep the defaults that the API
    /// server filled in.
    fn move_to_front(&mut self, list: &mut EditedList<'_>, name: &str, entry: &Value) -> Result<(), ApplyError> {
        let existing = list.all_named(name).count();
        self.budget.visit(existing)?;
        self.budget.remove(existing)?;
        let same = list.all_named(name).find(|existing| has_same_value(existing, entry));
        let entry = same.unwrap_or(entry);
        self.budget.add(operation_length(entry))?;
        let entry = entry.clone();
        list.remove_named(name);
        list.prepend(entry);
        Ok(())
    }

    /// Claims the variable, and returns whether this edit is the first that sets it. Messages omit
    /// the values, because a value may be a secret.
    fn claim_variable(&mut self, origin: &Arc<str>, env: &EnvVar, entry: &Value) -> Result<bool, ApplyError> {
        let mut is_first = true;
        for earlier in self.overlapping_claims(ClaimKind::Env, &env.name) {
            is_first = false;
            let is_same = match &earlier.content {
                ClaimContent::Variable(claimed) => claimed == env || claimed.to_json().as_ref() == Ok(entry),
                _ => false,
            };
            if !is_same {
                return Err(ApplyError::Conflict(format!(
                    "environment variable {} has different values from {} and {origin}; request them under different \
                     names, or for different containers",
                    env.name, earlier.origin
                )));
            }
        }
        if !self.is_claimed_everywhere(ClaimKind::Env, &env.name) {
            // The claim keeps a copy, even if every container has the variable.
            self.budget.add(operation_length(entry))?;
            self.record(origin, ClaimKind::Env, &env.name, ClaimContent::Variable(env.clone()));
        }
        Ok(is_first)
    }
}

/// Whether an earlier review set the variable from a Secret of the same injector, whose values have
/// changed since.
fn is_outdated(existing: &Value, entry: &Value) -> bool {
    let names = secret_name(existing).zip(secret_name(entry));
    names.is_some_and(|(old, new)| old != new && GeneratedName::are_related(old, new))
}

fn secret_name(entry: &Value) -> Option<&str> {
    entry["valueFrom"]["secretKeyRef"]["name"].as_str()
}

fn has_other_value(container: &EditedContainer<'_>, name: &str, entry: &Value) -> bool {
    container.env.all_named(name).any(|existing| !has_same_value(existing, entry))
}

/// Whether two entries give a variable the same value. An empty value may be absent.
pub(super) fn has_same_value(existing: &Value, requested: &Value) -> bool {
    let existing_source = &existing["valueFrom"];
    let requested_source = &requested["valueFrom"];
    literal_value(existing) == literal_value(requested)
        && existing_source.is_null() == requested_source.is_null()
        && contains(existing_source, requested_source)
}

fn literal_value(entry: &Value) -> &str {
    entry["value"].as_str().unwrap_or_default()
}
