//! [`LoadTasks`]: one task for each plugin that is being fetched and compiled.
//!
//! A load that supersedes another one takes over its tasks, and its results, as long as their
//! inputs are the same. So a change of one source does not restart the others, and a source that
//! changes often cannot delay them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::Semaphore,
    task::{AbortHandle, Id, JoinError, JoinSet},
};

use super::{
    compile_queue::{CompilePriority, CompileQueue, Waiter},
    slot::{PluginSlot, SlotFiller, SlotKey},
};
use ampoule_cluster::events::ConfigMapReference;
use ampoule_components::{FetchRecord, FetchedInjector, InjectorFetcher, ListedInjector, SourceVersion};
use ampoule_config::InjectorConfig;

/// Maximum number of plugins of ConfigMaps that are fetched and compiled at once. It bounds the
/// memory of components that are not used in the end.
const MOST_CONFIG_MAPS: usize = 2;
/// The same for plugins of ConfigMaps that changed during the load, which do not wait for others.
const MOST_CHANGED: usize = 1;
/// Maximum size of the unpacked components of all ConfigMaps, in bytes. A Python component has
/// 18 MB.
const MOST_COMPONENT_BYTES: usize = 128 << 20;

/// The inputs of a task, beside those that all tasks share.
#[derive(Clone, PartialEq)]
struct SlotInputs {
    config: InjectorConfig,
    origin: Option<ConfigMapReference>,
    is_dropped: bool,
    source: SourceVersion,
}

/// A plugin to load.
pub(super) struct PlannedLoad {
    pub(super) injector: ListedInjector,
    pub(super) source: SourceVersion,
    pub(super) is_required: bool,
}

/// The plugins of a load: running tasks and results.
pub(super) struct LoadTasks {
    loader: Arc<SlotLoader>,
    tasks: JoinSet<(FilledSlot, FetchRecord)>,
    running: HashMap<Id, RunningTask>,
    /// The results of this load, and of the loads that it superseded.
    results: BTreeMap<SlotKey, TaskResult>,
    /// The plugins whose compilation made room for another one. It happens once for each, so that
    /// changes cannot keep a plugin from being compiled.
    interrupted: BTreeSet<SlotKey>,
}

struct RunningTask {
    key: SlotKey,
    /// `None` for an injector that is not valid: its task takes no time.
    inputs: Option<SlotInputs>,
    handle: AbortHandle,
}

struct TaskResult {
    inputs: SlotInputs,
    slot: PluginSlot,
}

/// The result of a task.
pub(super) struct FilledSlot {
    pub(super) slot: PluginSlot,
    pub(super) is_required: bool,
}

/// The inputs that all tasks share, and what bounds them.
struct SlotLoader {
    fetcher: InjectorFetcher,
    filler: SlotFiller,
    turns: Arc<LoadTurns>,
}

/// Bounds what tasks do at once.
struct LoadTurns {
    compile: Arc<CompileQueue>,
    config_maps: Semaphore,
    changed: Semaphore,
    /// The bytes of the component of each ConfigMap so far.
    component_bytes: Mutex<BTreeMap<String, usize>>,
}

// === impl LoadTasks ===

impl LoadTasks {
    /// Creates the tasks of a load. It takes over those of `previous`, a load with the same shared
    /// inputs.
    pub(super) fn new(fetcher: InjectorFetcher, filler: SlotFiller, previous: Option<Self>) -> Self {
        let turns = match &previous {
            Some(previous) => Arc::clone(&previous.loader.turns),
            None => Arc::new(LoadTurns::new()),
        };
        let loader = Arc::new(SlotLoader { fetcher, filler, turns });
        match previous {
            Some(previous) => Self { loader, ..previous },
            None => Self {
                loader,
                tasks: JoinSet::new(),
                running: HashMap::new(),
                results: BTreeMap::new(),
                interrupted: BTreeSet::new(),
            },
        }
    }

    /// Starts to load these plugins, and gives up all others. Returns the slot of each plugin, and
    /// the number of required plugins without a result.
    pub(super) fn start(&mut self, plan: Vec<PlannedLoad>) -> (Vec<PluginSlot>, usize) {
        let is_first = self.running.is_empty() && self.results.is_empty();
        self.loader.turns.forget_others(&plan);
        let mut running = std::mem::take(&mut self.running);
        let mut results = std::mem::take(&mut self.results);
        let (mut slots, mut new, mut required_left) = (Vec::new(), Vec::new(), 0);
        for planned in plan {
            let (key, inputs) = (planned.key(), planned.inputs());
            if let (Some(result), Some(inputs)) = (results.remove(&key), &inputs)
                && result.inputs == *inputs
            {
                slots.push(result.slot.clone());
                self.results.insert(key, result);
                continue;
            }
            slots.push(self.loader.filler.keep(&planned.injector));
            required_left += usize::from(planned.is_required);
            let is_same = |task: &RunningTask| task.key == key && task.inputs.is_some() && task.inputs == inputs;
            let continued = running.extract_if(|_, task| is_same(task)).next();
            match continued {
                Some((id, task)) => _ = self.running.insert(id, task),
                None => new.push((planned, inputs)),
            }
        }
        running.into_values().for_each(|task| task.handle.abort());
        self.spawn(new, is_first);
        (slots, required_left)
    }

    /// Allows only required plugins to be compiled, or all.
    pub(super) fn restrict(&self, is_restricted: bool) {
        self.loader.turns.compile.restrict(is_restricted);
    }

    /// Waits for the next result. `None` if there is no task. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Result<(FilledSlot, FetchRecord), JoinError>> {
        loop {
            let (id, result) = match self.tasks.join_next_with_id().await? {
                Ok((id, result)) => (id, Ok(result)),
                Err(error) => (error.id(), Err(error)),
            };
            // A task that was given up may have ended before.
            let Some(task) = self.running.remove(&id) else { continue };
            if let (Ok((filled, _)), Some(inputs)) = (&result, task.inputs) {
                self.results.insert(task.key, TaskResult { inputs, slot: filled.slot.clone() });
            }
            return Some(result);
        }
    }

    fn spawn(&mut self, new: Vec<(PlannedLoad, Option<SlotInputs>)>, is_first: bool) {
        let priority = |planned: &PlannedLoad| match (planned.is_required, planned.injector.origin.is_some()) {
            (true, _) => CompilePriority::Required,
            (false, false) => CompilePriority::Configured,
            (false, true) if is_first => CompilePriority::Listed,
            (false, true) => CompilePriority::Changed,
        };
        let valid = new.iter().filter(|(_, inputs)| inputs.is_some());
        let first = valid.map(|(planned, _)| priority(planned)).min();
        if let Some(first) = first {
            self.interrupt_below(first);
        }
        for (planned, inputs) in new {
            let priority = priority(&planned);
            self.spawn_one(planned, inputs, priority);
        }
    }

    /// Starts the current compilation again, behind those of a higher priority.
    fn interrupt_below(&mut self, priority: CompilePriority) {
        let Some(current) = self.loader.turns.compile.current() else { return };
        if current.priority <= priority || self.interrupted.contains(&current.key) {
            return;
        }
        let is_current = |task: &RunningTask| task.key == current.key && task.inputs.is_some();
        let found = self.running.extract_if(|_, task| is_current(task)).next();
        let Some((_, RunningTask { key, inputs: Some(inputs), handle })) = found else { return };
        handle.abort();
        self.interrupted.insert(key);
        let injector = ListedInjector {
            name: current.key.name,
            origin: inputs.origin.clone(),
            config: Ok(inputs.config.clone()),
            is_dropped: inputs.is_dropped,
        };
        let planned = PlannedLoad { injector, source: inputs.source.clone(), is_required: false };
        self.spawn_one(planned, Some(inputs), current.priority);
    }

    fn spawn_one(&mut self, planned: PlannedLoad, inputs: Option<SlotInputs>, priority: CompilePriority) {
        let key = planned.key();
        let waiter = Waiter { priority, key: key.clone() };
        let handle = self.tasks.spawn(Arc::clone(&self.loader).load(planned, waiter));
        self.running.insert(handle.id(), RunningTask { key, inputs, handle });
    }
}

// === impl PlannedLoad ===

impl PlannedLoad {
    fn key(&self) -> SlotKey {
        SlotKey { from_config_map: self.injector.origin.is_some(), name: self.injector.name.clone() }
    }

    /// `None` if the injector is not valid.
    fn inputs(&self) -> Option<SlotInputs> {
        let ListedInjector { name: _, origin, config, is_dropped } = &self.injector;
        let config = config.as_ref().ok()?.clone();
        Some(SlotInputs { config, origin: origin.clone(), is_dropped: *is_dropped, source: self.source.clone() })
    }
}

// === impl SlotLoader ===

impl SlotLoader {
    async fn load(self: Arc<Self>, planned: PlannedLoad, waiter: Waiter) -> (FilledSlot, FetchRecord) {
        const OPEN: &str = "the semaphore is never closed";
        let PlannedLoad { injector, source: _, is_required } = planned;
        let places = match (waiter.key.from_config_map, waiter.priority) {
            (false, _) => None,
            (true, CompilePriority::Changed) => Some(&self.turns.changed),
            (true, _) => Some(&self.turns.config_maps),
        };
        let _place = match places {
            Some(places) => Some(places.acquire().await.expect(OPEN)),
            None => None,
        };
        let mut fetched = self.fetcher.fetch(injector).await;
        let record = self.fetcher.record(&fetched);
        if waiter.key.from_config_map {
            self.turns.count_bytes(&mut fetched);
        }
        let _turn = self.turns.compile.turn(waiter).await;
        let slot = self.filler.fill(fetched).await;
        (FilledSlot { slot, is_required }, record)
    }
}

// === impl LoadTurns ===

impl LoadTurns {
    fn new() -> Self {
        Self {
            compile: Arc::default(),
            config_maps: Semaphore::new(MOST_CONFIG_MAPS),
            changed: Semaphore::new(MOST_CHANGED),
            component_bytes: Mutex::default(),
        }
    }

    /// Stops counting the components of ConfigMaps that are not part of the plan.
    fn forget_others(&self, plan: &[PlannedLoad]) {
        let planned: BTreeSet<&String> = plan.iter().map(|planned| &planned.injector.name).collect();
        let mut bytes = self.component_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.retain(|name, _| planned.contains(name));
    }

    /// Rejects the component of a ConfigMap if all of them together are too large.
    fn count_bytes(&self, fetched: &mut FetchedInjector) {
        let mut bytes = self.component_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.remove(&fetched.name);
        let Ok(component) = &fetched.component else { return };
        let size = component.bytes.len();
        if bytes.values().sum::<usize>() + size <= MOST_COMPONENT_BYTES {
            bytes.insert(fetched.name.clone(), size);
            return;
        }
        fetched.config = None;
        fetched.is_dropped = true;
        fetched.component = Err(anyhow::anyhow!(
            "injector {}: the unpacked components of all ConfigMaps exceed {} MiB together",
            fetched.name,
            MOST_COMPONENT_BYTES >> 20
        ));
    }
}
