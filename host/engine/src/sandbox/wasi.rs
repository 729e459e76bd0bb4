//! [`GuestWasi`]: WASI 0.2 for guests whose tool chain imports it. Every interface exists, and is
//! empty without a grant.
//!
//! It has no files, arguments or sockets. Lines that it writes become lines of the log. Without
//! grants it has no environment variables, its clocks always show the same time and its random
//! numbers repeat, so that the same pod gets the same answer. It is created at the first call, so
//! that a component without WASI costs nothing.

use std::{sync::Arc, time::Duration};

use secrecy::ExposeSecret as _;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::{
    budgets::AdmissionBudgets, context::PluginContext, guest_http::gate::HttpGate, log::GuestLogLevel,
    output::GuestOutput,
};

/// Bytes of one request for random numbers. wasmtime-wasi's default is 64 MiB.
const MAX_RANDOM: u64 = 64 << 10;

/// The bytes that all random numbers repeat. They are not zero, because some generators loop on
/// zeros when they look for a seed.
const RANDOM: [u8; 32] = *b"ampoule gives the same answer!!!";

/// Bytes of one set of headers, as wasmtime-wasi-http counts them.
const MAX_FIELDS: usize = 32 << 10;

/// The WASI of one instance.
pub(crate) struct GuestWasi {
    ctx: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    gate: HttpGate,
}

/// A clock that always shows the start of 1970.
struct StoppedClock;

/// Adds every interface of WASI 0.2 that plugins can import.
pub(crate) fn add_to_linker<T>(linker: &mut Linker<T>) -> wasmtime::Result<()>
where
    T: WasiView + WasiHttpView + 'static,
{
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

// === impl GuestWasi ===

impl GuestWasi {
    pub(crate) fn new(plugin: &Arc<PluginContext>, budgets: &AdmissionBudgets, output: &GuestOutput) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(plugin.limits.handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS);
        let gate = HttpGate::new(Arc::clone(plugin), Arc::clone(&budgets.outbound));
        Self { ctx: build_context(plugin, budgets, output), table, http, gate }
    }

    /// The part for everything but HTTP.
    pub(crate) fn view(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.ctx, table: &mut self.table }
    }

    /// The part for HTTP.
    pub(crate) fn http_view(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.gate, table: &mut self.table, ctx: &mut self.http }
    }
}

fn build_context(plugin: &PluginContext, budgets: &AdmissionBudgets, output: &GuestOutput) -> WasiCtx {
    let grants = &plugin.grants;
    let mut ctx = WasiCtx::builder();
    ctx.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false).max_random_size(MAX_RANDOM);
    ctx.stdout(output.stream(&plugin.name, GuestLogLevel::Info, &budgets.log));
    ctx.stderr(output.stream(&plugin.name, GuestLogLevel::Error, &budgets.log));
    for (name, value) in &grants.environment {
        ctx.env(name, value.expose_secret());
    }
    if !grants.clock {
        ctx.wall_clock(StoppedClock).monotonic_clock(StoppedClock);
    }
    if !grants.randomness {
        ctx.secure_random(Deterministic::new(RANDOM.to_vec()))
            .insecure_random(Deterministic::new(RANDOM.to_vec()))
            .insecure_random_seed(u128::from_be_bytes(*b"ampoule repeats."));
    }
    ctx.build()
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
