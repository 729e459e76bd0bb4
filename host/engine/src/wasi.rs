//! WASI 0.2 for guests whose tool chain asks for it: all there, and empty.
//!
//! No files, environment, arguments, network or standard streams; a clock that stands still and randomness that repeats, so
//! that the same pod gets the same answer. It is made when a guest first calls it: a component without WASI pays nothing.

use std::time::Duration;

use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use crate::store::PluginState;

/// Bytes of one request for randomness; wasmtime-wasi would give 64 MiB.
const MAX_RANDOM: u64 = 64 << 10;

/// The bytes that all randomness repeats: any but zeros, on which some generators loop while they look for a seed.
const RANDOM: [u8; 32] = *b"ampoule gives the same answer!!!";

/// One guest's WASI.
pub(crate) struct EmptyWasi {
    ctx: WasiCtx,
    table: ResourceTable,
}

/// Always the first instant of 1970.
struct StoppedClock;

/// Adds every interface of WASI 0.2.
pub(crate) fn add_to_linker(linker: &mut Linker<PluginState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

// === impl EmptyWasi ===

impl EmptyWasi {
    pub(crate) fn new(max_handles: usize) -> Self {
        let mut ctx = WasiCtx::builder();
        ctx.allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(MAX_RANDOM)
            .secure_random(Deterministic::new(RANDOM.to_vec()))
            .insecure_random(Deterministic::new(RANDOM.to_vec()))
            .insecure_random_seed(u128::from_be_bytes(*b"ampoule repeats."))
            .wall_clock(StoppedClock)
            .monotonic_clock(StoppedClock);
        let mut table = ResourceTable::new();
        table.set_max_capacity(max_handles);
        Self { ctx: ctx.build(), table }
    }
}

// === impl StoppedClock ===

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for StoppedClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}

// === impl PluginState ===

impl WasiView for PluginState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let EmptyWasi { ctx, table } = self.wasi();
        WasiCtxView { ctx, table }
    }
}
