//! [`PendingLoad`]: the plugins of a configuration that are being fetched and compiled.
//!
//! Each plugin has its own task, so that a slow registry delays no other plugin. Compilations run
//! one after the other, those of required plugins first: a compiler takes up to 512 MiB.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::{
    sync::Semaphore,
    task::{JoinError, JoinSet},
};

use super::{
    PipelineParts,
    reduction::entry,
    slot::{PluginSlot, SlotFiller},
};
use ampoule_components::{FetchRecord, FetchedInjector, InjectorFetcher, ListedInjector};
use ampoule_config::{Config, InjectorConfig};
use ampoule_telemetry::plugin_state::PluginState;

/// Maximum number of plugins of ConfigMaps that are fetched and compiled at once. It bounds the
/// memory of components that are not used in the end.
const MOST_CONFIG_MAPS: usize = 2;
/// Maximum size of the unpacked components of all ConfigMaps, in bytes. A Python component has
/// 18 MB.
const MOST_COMPONENT_BYTES: usize = 128 << 20;

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
    tasks: JoinSet<(FilledSlot, FetchRecord)>,
    turns: Arc<CompileTurns>,
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

/// The slot of one task.
pub(super) struct FilledSlot {
    slot: PluginSlot,
    is_required: bool,
}

/// The result of one task, and what its fetch found out. `None` if there is no task to wait for.
pub(super) type FilledResult<R = (FilledSlot, FetchRecord)> = Option<Result<R, JoinError>>;

/// Bounds what tasks do at once.
struct CompileTurns {
    required: Semaphore,
    /// Has no permit until all required plugins are loaded.
    optional: Semaphore,
    config_maps: Semaphore,
    /// The bytes of the components of ConfigMaps so far.
    component_bytes: AtomicUsize,
}

/// The inputs of every task.
struct SlotLoader {
    fetcher: InjectorFetcher,
    filler: SlotFiller,
    turns: Arc<CompileTurns>,
}

// === impl PendingLoad ===

impl PendingLoad {
    /// Starts to load all injectors. `required` names those that must load. `parts` has no slots.
    pub(super) fn start(
        fetcher: InjectorFetcher,
        filler: SlotFiller,
        injectors: Vec<ListedInjector>,
        required: &BTreeSet<String>,
        parts: PipelineParts,
    ) -> Self {
        let turns = Arc::new(CompileTurns {
            required: Semaphore::new(1),
            optional: Semaphore::new(0),
            config_maps: Semaphore::new(MOST_CONFIG_MAPS),
            component_bytes: AtomicUsize::new(0),
        });
        let slots = injectors.iter().map(|injector| filler.keep(injector)).collect();
        let loader = Arc::new(SlotLoader { fetcher, filler, turns: Arc::clone(&turns) });
        let mut tasks = JoinSet::new();
        let mut required_left = 0;
        let mut from_config_maps = BTreeMap::new();
        for injector in injectors {
            let is_required = injector.origin.is_none() && required.contains(&injector.name);
            required_left += usize::from(is_required);
            if let (Some(_), Ok(config)) = (&injector.origin, &injector.config) {
                from_config_maps.insert(injector.name.clone(), config.clone());
            }
            tasks.spawn(Arc::clone(&loader).load(injector, is_required));
        }
        let parts = PipelineParts { slots, ..parts };
        Self {
            started: Instant::now(),
            parts,
            required_left,
            is_serving: false,
            from_config_maps,
            revoked: BTreeSet::new(),
            tasks,
            turns,
        }
    }

    /// Waits for the next plugin; `None` at once if a pipeline can be built without waiting, or if
    /// every plugin was tried. Cancel safe.
    pub(super) async fn wait(&mut self) -> FilledResult {
        if self.required_left == 0 && !self.is_serving {
            return None;
        }
        self.tasks.join_next().await
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
            self.turns.optional.add_permits(1);
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

// === impl SlotLoader ===

impl SlotLoader {
    async fn load(self: Arc<Self>, injector: ListedInjector, is_required: bool) -> (FilledSlot, FetchRecord) {
        const OPEN: &str = "the semaphore is never closed";
        let from_config_map = injector.origin.is_some();
        let _place = match from_config_map {
            true => Some(self.turns.config_maps.acquire().await.expect(OPEN)),
            false => None,
        };
        let mut fetched = self.fetcher.fetch(injector).await;
        let record = self.fetcher.record(&fetched);
        if from_config_map {
            self.turns.count_bytes(&mut fetched);
        }
        let turn = if is_required { &self.turns.required } else { &self.turns.optional };
        let _turn = turn.acquire().await.expect(OPEN);
        let slot = self.filler.fill(fetched).await;
        (FilledSlot { slot, is_required }, record)
    }
}

// === impl CompileTurns ===

impl CompileTurns {
    /// Rejects the component of a ConfigMap if all of them together are too large.
    fn count_bytes(&self, fetched: &mut FetchedInjector) {
        let Ok(component) = &fetched.component else { return };
        let size = component.bytes.len();
        let before = self.component_bytes.fetch_add(size, Ordering::Relaxed);
        if before + size > MOST_COMPONENT_BYTES {
            self.component_bytes.fetch_sub(size, Ordering::Relaxed);
            fetched.config = None;
            fetched.is_dropped = true;
            fetched.component = Err(anyhow::anyhow!(
                "injector {}: the unpacked components of all ConfigMaps exceed {} MiB together",
                fetched.name,
                MOST_COMPONENT_BYTES >> 20
            ));
        }
    }
}
