//! A guest's store: what the host keeps for one instance, and the bounds on it that wasmtime enforces.
//!
//! A store is made per plugin and admission and dropped after; nothing in it lives on to another pod.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use wasmtime::{CallHook, ResourceLimiter, Store, UpdateDeadline};

use crate::{
    config::{CORE_INSTANCES, MEMORIES, TABLE_ELEMENTS, TABLES},
    context::PluginContext,
    limits::Exceeded,
    log::LogBudget,
    outbound::OutboundBudget,
    wasi::GuestWasi,
};

/// What the host keeps for one instance.
pub(crate) struct PluginState {
    pub(crate) plugin: Arc<PluginContext>,
    pub(crate) log: LogBudget,
    /// When the guest is interrupted.
    pub(crate) deadline: Instant,
    usage: Usage,
    host_calls_left: u32,
    host_time: HostTime,
    /// What the admission may still ask and move beyond the sandbox, also with another instance of the same plugin.
    pub(crate) outbound: Arc<OutboundBudget>,
    wasi: Option<Box<GuestWasi>>,
}

/// What the instance has of what grows.
struct Usage {
    memory: Meter,
    table_elements: Meter,
    refused: Option<Exceeded>,
}

/// How long the guest was in the host. What it calls may call it back, for memory; that counts to the host's.
#[derive(Default)]
struct HostTime {
    depth: u32,
    since: Option<Instant>,
    spent: Duration,
}

/// An amount that may not pass its limit.
struct Meter {
    used: usize,
    limit: usize,
}

/// An empty store that interrupts its guest at `deadline`, and lets others have their turn on every tick until then.
pub(crate) fn new_store(
    plugin: &Arc<PluginContext>,
    outbound: &Arc<OutboundBudget>,
    deadline: Instant,
) -> Store<PluginState> {
    let PluginContext { limits, shared, .. } = &**plugin;
    let mut store = Store::new(&shared.engine, PluginState::new(plugin, outbound, deadline));
    store.limiter(|state| &mut state.usage);
    store.call_hook(|mut store, hook| {
        let state = store.data_mut();
        match hook {
            CallHook::CallingHost => {
                state.host_time.enter();
                state.count_host_call()
            }
            CallHook::ReturningFromHost => {
                state.host_time.leave();
                Ok(())
            }
            CallHook::CallingWasm | CallHook::ReturningFromWasm => Ok(()),
        }
    });
    store.set_hostcall_fuel(limits.host_call_bytes);
    store.set_max_component_handles(limits.handles);
    store.epoch_deadline_callback(|store| {
        let late = Instant::now() >= store.data().deadline;
        Ok(if late { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
    });
    store.set_epoch_deadline(1);
    store
}

// === impl PluginState ===

impl PluginState {
    fn new(plugin: &Arc<PluginContext>, outbound: &Arc<OutboundBudget>, deadline: Instant) -> Self {
        let limits = &plugin.limits;
        Self {
            plugin: Arc::clone(plugin),
            log: LogBudget::new(limits.log_lines),
            deadline,
            usage: Usage {
                memory: Meter { used: 0, limit: limits.memory },
                table_elements: Meter { used: 0, limit: limits.table_elements },
                refused: None,
            },
            host_calls_left: limits.host_calls,
            host_time: HostTime::default(),
            outbound: Arc::clone(outbound),
            wasi: None,
        }
    }

    /// The growth that this instance was refused, if any. A guest that is refused memory mostly traps, and then this is why.
    pub(crate) fn refused_growth(&self) -> Option<Exceeded> {
        self.usage.refused
    }

    /// The guest's WASI, made on its first use.
    pub(crate) fn wasi(&mut self) -> &mut GuestWasi {
        let Self { plugin, outbound, wasi, .. } = self;
        wasi.get_or_insert_with(|| Box::new(GuestWasi::new(plugin, Arc::clone(outbound))))
    }

    /// How long the guest has been in the host so far.
    pub(crate) fn host_time(&self) -> Duration {
        let HostTime { depth: _, since, spent } = &self.host_time;
        *spent + since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// The linear memory that it has, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.usage.memory.used
    }

    fn count_host_call(&mut self) -> wasmtime::Result<()> {
        self.host_calls_left = self.host_calls_left.checked_sub(1).ok_or(Exceeded::HostCalls)?;
        Ok(())
    }
}

// === impl HostTime ===

impl HostTime {
    fn enter(&mut self) {
        if self.depth == 0 {
            self.since = Some(Instant::now());
        }
        self.depth += 1;
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 {
            self.spent += self.since.take().map(|since| since.elapsed()).unwrap_or_default();
        }
    }
}

// === impl Usage ===

impl Usage {
    /// Counts a growth and says whether it may be. One beyond the guest's own maximum fails anyway and is not counted.
    fn grow(&mut self, meter: fn(&mut Self) -> &mut Meter, exceeded: Exceeded, by: usize, fits: bool) -> bool {
        if !fits {
            return false;
        }
        let grown = meter(self).grow(by);
        if !grown {
            self.refused = Some(exceeded);
        }
        grown
    }
}

impl ResourceLimiter for Usage {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(
            |usage| &mut usage.memory,
            Exceeded::Memory,
            desired.saturating_sub(current),
            fits(desired, maximum),
        ))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let by = desired.saturating_sub(current);
        // A maximum as large as the pool's is the pool's, and the guest runs into its limit.
        let own = maximum.filter(|maximum| *maximum < TABLE_ELEMENTS);
        Ok(self.grow(|usage| &mut usage.table_elements, Exceeded::TableElements, by, fits(desired, own)))
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
    fn grow(&mut self, by: usize) -> bool {
        let wanted = self.used.saturating_add(by);
        let fits = wanted <= self.limit;
        if fits {
            self.used = wanted;
        }
        fits
    }
}

fn fits(desired: usize, maximum: Option<usize>) -> bool {
    maximum.is_none_or(|maximum| desired <= maximum)
}
