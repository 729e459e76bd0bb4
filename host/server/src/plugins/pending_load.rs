//! [`PendingLoad`]: the plugins of a configuration that are being fetched and compiled.
//!
//! Each plugin has its own task, so that a slow registry delays no other plugin. Compilations run
//! one after the other, those of required plugins first: a compiler takes up to 512 MiB. A load
//! that supersedes another one keeps what that one has done ([`LoadTasks`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use tokio::task::JoinError;

use super::{
    PipelineParts,
    load_tasks::{FilledSlot, LoadTasks, PlannedLoad},
    reduction::entry,
    slot::{PluginSlot, SlotFiller},
};
use ampoule_components::{FetchRecord, InjectorFetcher, ListedInjector};
use ampoule_config::{Config, InjectorConfig};
use ampoule_engine::PluginEngine;
use ampoule_telemetry::plugin_state::PluginState;

/// A configuration whose plugins are being loaded.
pub(super) struct PendingLoad {
    pub(super) started: Instant,
    parts: PipelineParts,
    /// The required plugins that are not loaded yet.
    required_left: usize,
    /// Whether a pipeline with these parts was built already.
    is_serving: bool,
    /// The valid injectors of ConfigMaps.
    from_config_maps: BTreeMap<String, InjectorConfig>,
    /// The injectors of ConfigMaps that were removed or restricted since the start.
    revoked: BTreeSet<String>,
    tasks: LoadTasks,
}

/// A step of a load.
pub(super) enum LoadStep {
    /// A pipeline can be built from these parts.
    Pipeline(PipelineParts),
    /// A required plugin did not load.
    Refused(anyhow::Error),
    /// Every plugin was tried.
    Done,
}

/// The result of one task, and what its fetch found out. `None` if there is no task to wait for.
pub(super) type FilledResult<R = (FilledSlot, FetchRecord)> = Option<Result<R, JoinError>>;

// === impl PendingLoad ===

impl PendingLoad {
    /// Starts to load all injectors. `parts` has no slots. `previous` is the load that this one
    /// supersedes.
    pub(super) fn start(
        fetcher: InjectorFetcher,
        filler: SlotFiller,
        plan: Vec<PlannedLoad>,
        parts: PipelineParts,
        previous: Option<Self>,
    ) -> Self {
        let previous = previous.filter(|previous| previous.has_same_inputs(&parts));
        let mut from_config_maps = BTreeMap::new();
        for PlannedLoad { injector, .. } in &plan {
            if let (Some(_), Ok(config)) = (&injector.origin, &injector.config) {
                from_config_maps.insert(injector.name.clone(), config.clone());
            }
        }
        let mut tasks = LoadTasks::new(fetcher, filler, previous.map(|previous| previous.tasks));
        // Before a task can ask for a turn.
        tasks.restrict(true);
        let (slots, required_left) = tasks.start(plan);
        Self {
            started: Instant::now(),
            parts: PipelineParts { slots, ..parts },
            required_left,
            is_serving: false,
            from_config_maps,
            revoked: BTreeSet::new(),
            tasks,
        }
    }

    /// Whether the tasks of this load have the inputs that these parts need, beside those of each
    /// plugin.
    fn has_same_inputs(&self, parts: &PipelineParts) -> bool {
        let (one, other) = (&self.parts.config, &parts.config);
        Arc::ptr_eq(&self.parts.engine, &parts.engine)
            && one.conventions == other.conventions
            && one.trust == other.trust
            && one.registries == other.registries
            && one.config_map_credentials == other.config_map_credentials
    }

    /// Returns the engine of this load, and the number of instances that it supports.
    pub(super) fn engine(&self) -> (&Arc<PluginEngine>, usize) {
        (&self.parts.engine, self.parts.instances)
    }

    /// Returns the configuration of this load.
    pub(super) fn config(&self) -> &Config {
        &self.parts.config
    }

    /// Waits for the next plugin; `None` at once if a pipeline can be built without waiting, or if
    /// every plugin was tried. Cancel safe.
    pub(super) async fn wait(&mut self) -> FilledResult {
        if self.required_left == 0 && !self.is_serving {
            return None;
        }
        self.tasks.next().await
    }

    /// Uses the result of [`PendingLoad::wait`]. `None` if there is nothing to do yet.
    pub(super) fn advance(&mut self, filled: FilledResult<FilledSlot>) -> Option<LoadStep> {
        match filled {
            None if self.is_serving => return Some(LoadStep::Done),
            None => {}
            Some(Ok(FilledSlot { slot, is_required })) => {
                if is_required && slot.status.state == PluginState::Failed {
                    return Some(LoadStep::Refused(anyhow::Error::msg(slot.status.error.unwrap_or_default())));
                }
                self.required_left -= usize::from(is_required);
                self.put(slot);
            }
            Some(Err(_)) => return Some(LoadStep::Refused(anyhow::anyhow!("loading a plugin panicked"))),
        }
        if self.required_left > 0 {
            return None;
        }
        if !self.is_serving {
            self.is_serving = true;
            self.tasks.restrict(false);
        }
        Some(LoadStep::Pipeline(self.parts.clone()))
    }

    /// Removes the injectors of ConfigMaps that are not in this list any more, or are restricted
    /// there. The next load brings back what is permitted.
    pub(super) fn revoke(&mut self, config: &Config, injectors: &[ListedInjector]) {
        let at_start = &self.from_config_maps;
        let is_present = |slot: &PluginSlot| {
            if slot.status.origin.is_none() {
                return true;
            }
            let Some(injector) = entry(slot, config, injectors) else { return false };
            match (&injector.config, at_start.get(&slot.status.name)) {
                _ if injector.is_dropped => false,
                (Ok(now), Some(before)) => is_unrestricted(before, now),
                // An invalid injector keeps its predecessor, which may have more grants.
                (Ok(_), None) => false,
                // An unreadable injector revokes nothing.
                (Err(_), _) => true,
            }
        };
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parts.slots).into_iter().partition(is_present);
        self.parts.slots = kept;
        self.revoked.extend(gone.into_iter().map(|slot| slot.status.name));
    }

    fn put(&mut self, filled: PluginSlot) {
        let is_same = |slot: &&mut PluginSlot| {
            slot.status.name == filled.status.name && slot.status.origin.is_some() == filled.status.origin.is_some()
        };
        let is_revoked = filled.status.origin.is_some() && self.revoked.contains(&filled.status.name);
        if !is_revoked && let Some(slot) = self.parts.slots.iter_mut().find(is_same) {
            *slot = filled;
        }
    }
}

/// Whether an injector has every grant that it had, and no other requirement of its component.
fn is_unrestricted(before: &InjectorConfig, now: &InjectorConfig) -> bool {
    before.grants.are_within(&now.grants)
        && before.signed_by == now.signed_by
        && before.signed_name == now.signed_name
        && before.sha256 == now.sha256
}
