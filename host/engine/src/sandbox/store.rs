//! [`GuestState`]: the store of an instance, and the bounds that wasmtime enforces on it.
//!
//! A store is created per plugin and admission and dropped afterwards, so that nothing in it
//! reaches another pod.

use ampoule_core::{SecretName, SecretValue};
use std::sync::Arc;

use tokio::time::Instant;
use wasmtime::{CallHook, Engine, ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::{
    answer::RequestAnswer,
    budgets::AdmissionBudgets,
    builders::BuilderTable,
    context::PluginContext,
    facts::{Fact, LearnedFacts, SearchedKeys},
    fetch::PromiseAnswer,
    limits::{CORE_INSTANCES, ExceededLimit, MEMORIES, TABLE_ELEMENTS, TABLES, VALUE_BYTES},
    log::GuestLogLevel,
    output::GuestOutput,
    secrets::{SecretReadError, first_existing, read_secret},
    wasi::GuestWasi,
};

/// The host's data for one instance.
pub(crate) struct GuestState {
    pub(crate) plugin: Arc<PluginContext>,
    /// The time at which the guest is interrupted.
    pub(crate) deadline: Instant,
    /// The answer to the current request.
    pub(crate) answer: Option<Box<RequestAnswer>>,
    /// The answer to the current promise.
    pub(crate) promise: Option<PromiseAnswer>,
    pub(crate) builders: BuilderTable,
    /// What the guest learned since its start, or since its last answer.
    pub(crate) facts: LearnedFacts,
    usage: ResourceUsage,
    /// Bytes of fetched values that the current request may still have.
    value_bytes_left: usize,
    output: GuestOutput,
    /// Shared by all instances of the plugin for one admission.
    budgets: AdmissionBudgets,
    wasi: Option<Box<GuestWasi>>,
}

/// The growing resources of an instance. A growth beyond the guest's own maximum fails in any case,
/// so it is neither counted nor recorded as refused.
struct ResourceUsage {
    memory: Meter,
    table_elements: Meter,
    refused: Option<ExceededLimit>,
}

/// An amount and its limit.
struct Meter {
    used: usize,
    limit: usize,
}

/// Creates an empty store that interrupts its guest at `deadline`, and yields to other guests on
/// every tick until then.
pub(crate) fn new_store(
    engine: &Engine,
    plugin: &Arc<PluginContext>,
    budgets: &AdmissionBudgets,
    deadline: Instant,
) -> Store<GuestState> {
    let mut store = Store::new(engine, GuestState::new(plugin, budgets, deadline));
    store.limiter(|state| &mut state.usage);
    store.call_hook(|mut store, hook| store.data_mut().on_call(hook));
    store.set_hostcall_fuel(plugin.limits.host_call_bytes);
    store.set_max_component_handles(plugin.limits.handles);
    store.epoch_deadline_callback(|store| Ok(store.data().on_tick()));
    store.set_epoch_deadline(1);
    store
}

// === impl GuestState ===

impl GuestState {
    fn new(plugin: &Arc<PluginContext>, budgets: &AdmissionBudgets, deadline: Instant) -> Self {
        let limits = &plugin.limits;
        Self {
            plugin: Arc::clone(plugin),
            deadline,
            answer: None,
            promise: None,
            builders: BuilderTable::new(limits),
            facts: LearnedFacts::new(plugin.reuses_answers),
            usage: ResourceUsage {
                memory: Meter { used: 0, limit: limits.memory },
                table_elements: Meter { used: 0, limit: limits.table_elements },
                refused: None,
            },
            value_bytes_left: VALUE_BYTES,
            output: GuestOutput::default(),
            budgets: budgets.clone(),
            wasi: None,
        }
    }

    /// The limit that a growth of memory or tables would have exceeded, if one was refused. A guest
    /// without memory usually traps; this is then the cause of the trap.
    pub(crate) fn refused_growth(&self) -> Option<ExceededLimit> {
        self.usage.refused
    }

    /// The size of its linear memory in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.usage.memory.used
    }

    /// Returns whether a login for the plugin was refused since the last call.
    pub(crate) fn take_refused_login(&self) -> bool {
        self.budgets.outbound.take_refused_login()
    }

    /// Starts the limit on the bytes of fetched values, for one request.
    pub(crate) fn start_values(&mut self) {
        self.value_bytes_left = VALUE_BYTES;
    }

    /// Starts a new request.
    pub(crate) fn start_request(&mut self, answer: RequestAnswer) {
        self.start_values();
        self.answer = Some(Box::new(answer));
    }

    /// Takes what the guest learned for its answer; `None` if it cannot be compared later, or if
    /// the guest wrote a line.
    pub(crate) fn take_facts(&mut self) -> Option<Vec<Fact>> {
        if !self.output.is_empty() {
            self.facts.spoil();
        }
        self.facts.take()
    }

    /// Counts the bytes of a fetched value.
    pub(crate) fn count_value(&mut self, bytes: usize) -> Result<(), ExceededLimit> {
        self.value_bytes_left = self.value_bytes_left.checked_sub(bytes).ok_or(ExceededLimit::OutputBytes)?;
        Ok(())
    }

    /// The last lines that the guest wrote to its standard output and standard error, and its lines
    /// of the log at level error.
    pub(crate) fn output_tail(&self) -> String {
        self.output.tail()
    }

    /// Returns an entry of the plugin's cache.
    pub(crate) fn cache_get(&mut self, key: &str) -> Option<Vec<u8>> {
        if !self.plugin.grants.cache {
            return None;
        }
        self.facts.spoil();
        self.plugin.cache.get(key)
    }

    /// Stores an entry in the plugin's cache.
    pub(crate) fn cache_set(&mut self, key: String, value: Vec<u8>, seconds: u32) {
        if self.plugin.grants.cache {
            self.facts.spoil();
            self.plugin.cache.set(key, value, seconds);
        }
    }

    /// Writes a line of the guest to the log.
    pub(crate) fn write_log(&mut self, level: GuestLogLevel, message: &str) {
        self.facts.spoil();
        if let GuestLogLevel::Error = level {
            self.output.keep(message.as_bytes());
            self.output.keep(b"\n");
        }
        self.budgets.log.write(&self.plugin.name, level, message);
    }

    /// Reads a Kubernetes Secret for the guest.
    pub(crate) async fn read_secret(&mut self, secret: SecretName, key: String) -> Result<Vec<u8>, SecretReadError> {
        self.facts.spoil();
        read_secret(&self.plugin, &self.budgets.outbound, secret, key).await
    }

    /// Returns the position of the first of these keys of Kubernetes Secrets that exists.
    pub(crate) async fn first_existing_secret(&mut self, keys: SearchedKeys) -> Result<Option<usize>, SecretReadError> {
        let asked = self.facts.is_complete().then(|| Arc::clone(&keys));
        let found = first_existing(&self.plugin, &self.budgets.outbound, keys).await;
        self.learn_first(asked, found.as_ref().ok().copied());
        found
    }

    /// Returns whether a key of a Kubernetes Secret exists.
    pub(crate) async fn secret_exists(&mut self, secret: SecretName, key: String) -> Result<bool, SecretReadError> {
        let asked = self.facts.is_complete().then(|| Arc::from([(secret.clone(), key.clone())]));
        let found = match read_secret(&self.plugin, &self.budgets.outbound, secret, key).await {
            Ok(value) => {
                // The wrapper wipes the bytes.
                drop(SecretValue::new(value));
                Ok(true)
            }
            Err(SecretReadError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        };
        self.learn_first(asked, found.as_ref().ok().map(|exists| exists.then_some(0)));
        found
    }

    /// Records which of the keys exists first. An error is not recorded.
    fn learn_first(&mut self, asked: Option<SearchedKeys>, found: Option<Option<usize>>) {
        match (asked, found) {
            (Some(keys), Some(position)) => self.facts.add(|| Fact::FirstExisting(keys, position)),
            _ => self.facts.spoil(),
        }
    }

    /// Counts items of an argument that cost as much as a call of the host each.
    pub(crate) fn count_items(&self, items: usize) -> Result<(), ExceededLimit> {
        (0..items).try_for_each(|_| self.budgets.count_host_call())
    }

    /// The guest's WASI, created at its first use.
    fn wasi(&mut self) -> &mut GuestWasi {
        self.wasi.get_or_insert_with(|| Box::new(GuestWasi::new(&self.plugin, &self.budgets, &self.output)))
    }

    /// Counts the calls of the host.
    fn on_call(&mut self, hook: CallHook) -> wasmtime::Result<()> {
        match hook {
            CallHook::CallingHost => Ok(self.budgets.count_host_call()?),
            CallHook::ReturningFromHost | CallHook::CallingWasm | CallHook::ReturningFromWasm => Ok(()),
        }
    }

    /// Interrupts the guest after its deadline, and yields to other guests before.
    fn on_tick(&self) -> UpdateDeadline {
        self.budgets.return_host_call();
        if Instant::now() >= self.deadline { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) }
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi().view()
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.facts.spoil();
        self.wasi().http_view()
    }
}

// === impl ResourceUsage ===

impl ResourceUsage {
    fn grow_memory(&mut self, by: usize) -> bool {
        let grown = self.memory.grow(by);
        if !grown {
            self.refused = Some(ExceededLimit::Memory);
        }
        grown
    }

    fn grow_tables(&mut self, by: usize) -> bool {
        let grown = self.table_elements.grow(by);
        if !grown {
            self.refused = Some(ExceededLimit::TableElements);
        }
        grown
    }
}

impl ResourceLimiter for ResourceUsage {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(is_within(desired, maximum) && self.grow_memory(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // A maximum of `TABLE_ELEMENTS` or more is the pool's, not the guest's own.
        let own_maximum = maximum.filter(|maximum| *maximum < TABLE_ELEMENTS);
        Ok(is_within(desired, own_maximum) && self.grow_tables(desired.saturating_sub(current)))
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}

// === impl Meter ===

impl Meter {
    /// Counts a growth. Returns false, and counts nothing, if it would exceed the limit.
    fn grow(&mut self, by: usize) -> bool {
        let wanted = self.used.saturating_add(by);
        let fits = wanted <= self.limit;
        if fits {
            self.used = wanted;
        }
        fits
    }
}

fn is_within(desired: usize, maximum: Option<usize>) -> bool {
    maximum.is_none_or(|maximum| desired <= maximum)
}
