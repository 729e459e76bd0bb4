//! [`reduce`]: the parts of a pipeline that a new configuration still permits.
//!
//! A removal takes effect before anything is fetched or compiled. The reduced pipeline has only
//! what both configurations permit.

use std::sync::Arc;

use ampoule_components::ListedInjector;
use ampoule_config::Config;
use ampoule_core::OnFailure;

use super::{PipelineParts, recipe::LoadedPlugin, slot::PluginSlot};
use crate::policy;

/// Returns the parts without what the new configuration removes. `None` if it removes nothing.
pub(super) fn reduce(last: &PipelineParts, config: &Config, injectors: &[ListedInjector]) -> Option<PipelineParts> {
    let slots: Vec<_> = last.slots.iter().filter_map(|slot| permitted_slot(slot, config, injectors)).collect();
    let reduced = Config {
        // The plugins that stay were configured with these conventions.
        conventions: last.config.conventions.clone(),
        // Its engine stays as well. The next load compares its settings.
        engine: last.config.engine.clone(),
        global_secrets: last.config.global_secrets.as_ref().and(config.global_secrets.clone()),
        on_failure: stricter(last.config.on_failure, config.on_failure),
        policy: policy::both(&last.config.policy, &config.policy),
        ..config.clone()
    };
    let has_lost_plugin = slots.len() != last.slots.len() || serving(&slots) != serving(&last.slots);
    let is_unchanged = !has_lost_plugin
        && slots.iter().map(PluginSlot::edits).eq(last.slots.iter().map(PluginSlot::edits))
        && slots.iter().map(PluginSlot::delivery).eq(last.slots.iter().map(PluginSlot::delivery))
        && reduced.global_secrets == last.config.global_secrets
        && reduced.policy == last.config.policy
        && shadows(&reduced).eq(shadows(&last.config))
        && reduced.on_failure == last.config.on_failure;
    if is_unchanged {
        return None;
    }
    // Every rule compiled before. Otherwise, the previous policy is the safe one.
    let policy = policy::compile(&reduced).unwrap_or_else(|_| last.policy.clone());
    Some(PipelineParts { config: Arc::new(reduced), slots, policy, ..last.clone() })
}

/// Returns the entry of a slot in the new list of injectors.
pub(super) fn entry<'a>(
    slot: &PluginSlot,
    config: &Config,
    injectors: &'a [ListedInjector],
) -> Option<&'a ListedInjector> {
    injectors.iter().find(|injector| {
        injector.name == slot.status.name
            && injector.origin.is_some() == slot.status.origin.is_some()
            && !injector.is_ignored(config)
    })
}

/// Returns the slot, without its plugin if that is not permitted. `None` if the injector is
/// removed.
fn permitted_slot(slot: &PluginSlot, config: &Config, injectors: &[ListedInjector]) -> Option<PluginSlot> {
    let injector = entry(slot, config, injectors)?;
    let mut slot = slot.clone();
    let now = injector.config.as_ref().ok();
    let is_permitted = |LoadedPlugin { recipe, .. }: &LoadedPlugin| {
        !injector.is_dropped
            && recipe.is_permitted(now, &config.trust)
            && (injector.origin.is_none() || recipe.has_permitted_credentials(&config.config_map_credentials))
    };
    if slot.serving.as_ref().is_some_and(|loaded| !is_permitted(loaded)) {
        slot.revoke();
    }
    slot.restrict(now);
    Some(slot)
}

/// The names of the shadow injectors.
fn shadows(config: &Config) -> impl Iterator<Item = &str> {
    config.injectors.iter().filter(|injector| injector.shadow).map(|injector| injector.name.as_str())
}

fn serving(slots: &[PluginSlot]) -> usize {
    slots.iter().filter(|slot| slot.serving.is_some()).count()
}

fn stricter(one: OnFailure, other: OnFailure) -> OnFailure {
    match (one, other) {
        (OnFailure::Admit, OnFailure::Admit) => OnFailure::Admit,
        (OnFailure::Deny, _) | (_, OnFailure::Deny) => OnFailure::Deny,
    }
}
