//! WASI 0.2 for guests whose tool chain asks for it: all there, and empty but for what was granted.
//!
//! No files, arguments, sockets or standard streams. Without a grant, no environment either, a clock that stands still and
//! randomness that repeats, so that the same pod gets the same answer. It is made when a guest first calls it: a component
//! without WASI pays nothing.

use std::{sync::Arc, time::Duration};

use secrecy::ExposeSecret as _;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::{
    context::PluginContext,
    grants::Grants,
    outbound::{HttpGate, OutboundBudget},
    store::PluginState,
};

/// Bytes of one request for randomness; wasmtime-wasi would give 64 MiB.
const MAX_RANDOM: u64 = 64 << 10;

/// The bytes that all randomness repeats: any but zeros, on which some generators loop while they look for a seed.
const RANDOM: [u8; 32] = *b"ampoule gives the same answer!!!";

/// Bytes of one set of headers, as wasmtime-wasi-http counts them.
const MAX_FIELDS: usize = 32 << 10;

/// One guest's WASI.
pub(crate) struct GuestWasi {
    ctx: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    gate: HttpGate,
}

/// Always the first instant of 1970.
struct StoppedClock;

/// Adds every interface of WASI 0.2 that there is for any plugin.
pub(crate) fn add_to_linker(linker: &mut Linker<PluginState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

// === impl GuestWasi ===

impl GuestWasi {
    pub(crate) fn new(plugin: &Arc<PluginContext>, budget: Arc<OutboundBudget>) -> Self {
        let Grants { environment, clock, randomness, .. } = &plugin.grants;
        let mut ctx = WasiCtx::builder();
        ctx.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false).max_random_size(MAX_RANDOM);
        for (name, value) in environment {
            ctx.env(name, value.expose_secret());
        }
        if !clock {
            ctx.wall_clock(StoppedClock).monotonic_clock(StoppedClock);
        }
        if !randomness {
            ctx.secure_random(Deterministic::new(RANDOM.to_vec()))
                .insecure_random(Deterministic::new(RANDOM.to_vec()))
                .insecure_random_seed(u128::from_be_bytes(*b"ampoule repeats."));
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(plugin.limits.handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS);
        let gate = HttpGate::new(Arc::clone(plugin), budget);
        Self { ctx: ctx.build(), table, http, gate }
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
        let GuestWasi { ctx, table, .. } = self.wasi();
        WasiCtxView { ctx, table }
    }
}

impl WasiHttpView for PluginState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let GuestWasi { table, http: ctx, gate: hooks, .. } = self.wasi();
        WasiHttpCtxView { hooks, table, ctx }
    }
}
