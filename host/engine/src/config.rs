//! How wasmtime is set up: what a guest may be made of, and where its memory comes from.
//!
//! Every figure is from DESIGN.md, "Hosting components", unless its comment says otherwise.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, RegallocAlgorithm};

use crate::{engine::Allocation, proposals::SWITCHED_OFF};

/// Core instances of one component. A Rust guest has four with its adapters, a Python one about twenty.
pub(crate) const CORE_INSTANCES: u32 = 64;

/// Linear memories of one component: its own and, in some tool chains, an adapter's.
pub(crate) const MEMORIES: u32 = 4;

/// Tables of one component.
pub(crate) const TABLES: u32 = 16;

/// Elements of one table; the limit over all of them is a plugin's own ([`crate::Limits::table_elements`]).
pub(crate) const TABLE_ELEMENTS: usize = 20_000;

/// Stack for wasm. wasmtime's default; a JavaScript guest needs half of it.
const WASM_STACK: usize = 512 << 10;

/// Stack of a call, wasm's and that of the host functions it calls. Only touched pages cost anything, and a host function
/// that overflows it ends the process, so the gap is wide.
const CALL_STACK: usize = 2 << 20;

/// Memory that a pool slot keeps for its next guest instead of giving it back to the system.
const KEPT_MEMORY: usize = 128 << 10;

/// As [`KEPT_MEMORY`], for tables.
const KEPT_TABLE: usize = 16 << 10;

/// Slots that keep memory while they are unused: bounds what an idle webhook holds on to at 4 MiB.
const WARM_SLOTS: u32 = 32;

/// Frames of a guest in the log of a trap.
const BACKTRACE_FRAMES: std::num::NonZeroUsize = std::num::NonZeroUsize::new(16).expect("16 is not zero");

/// An engine for `max_concurrent` instances at once: pooled, or on demand where the address space has no room for the pool.
pub(crate) fn engine(max_concurrent: u32) -> wasmtime::Result<(Engine, Allocation)> {
    let pooled = Engine::new(common().allocation_strategy(InstanceAllocationStrategy::Pooling(pool(max_concurrent))));
    match pooled {
        Ok(engine) => Ok((engine, Allocation::Pooling)),
        Err(error) => {
            tracing::warn!(
                max_concurrent,
                error = format!("{error:#}"),
                "no address space for the pool of instances, each is allocated on demand (raise `ulimit -v`)"
            );
            Ok((Engine::new(&on_demand())?, Allocation::OnDemand))
        }
    }
}

/// An engine that compiles what an engine of this allocation runs, and reserves nothing.
pub(crate) fn compiler(allocation: Allocation) -> wasmtime::Result<Engine> {
    match allocation {
        // Where memory comes from does not show in the code, as long as it is laid out in the same way.
        Allocation::Pooling => Engine::new(&common()),
        Allocation::OnDemand => Engine::new(&on_demand()),
    }
}

fn common() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(CALL_STACK)
        // The same pod must get the same answer on every machine.
        .cranelift_nan_canonicalization(true)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
        .wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES))
        .shared_memory(false)
        .gc_support(false);
    for (_, feature) in SWITCHED_OFF {
        config.wasm_features(feature, false);
    }
    config
}

/// Without a pool, and without the 4 GiB of address space that wasmtime reserves per memory to save bounds checks.
fn on_demand() -> Config {
    let mut config = common();
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(0)
        .memory_reservation_for_growth(0)
        .memory_guard_size(64 << 10);
    config
}

fn pool(max_concurrent: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(max_concurrent)
        .total_core_instances(max_concurrent.saturating_mul(CORE_INSTANCES))
        // Few components have more than one memory or three tables, and slots cost address space.
        .total_memories(max_concurrent.saturating_mul(2))
        .total_tables(max_concurrent.saturating_mul(4))
        .total_stacks(max_concurrent)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEPT_MEMORY)
        .table_keep_resident(KEPT_TABLE)
        .max_unused_warm_slots(WARM_SLOTS)
        // Off, as protection keys are (their crate feature is not compiled in): both have let one instance's memory reach
        // the next.
        .pagemap_scan(Enabled::No);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_back_to_on_demand_where_the_pool_does_not_fit() {
        // A pool for a million instances wants eight pebibytes of address space, 64 times what a process has.
        assert_eq!(engine(1_000_000).unwrap().1, Allocation::OnDemand);
        assert_eq!(engine(4).unwrap().1, Allocation::Pooling);
    }

    #[test]
    fn what_is_compiled_elsewhere_is_what_runs_here() {
        let component =
            wat::parse_str("(component (core module (memory 1) (func (drop (i32.load (i32.const 0))))))").unwrap();
        let other = |allocation| match allocation {
            Allocation::Pooling => Allocation::OnDemand,
            Allocation::OnDemand => Allocation::Pooling,
        };
        for slots in [1_000_000, 4] {
            let (engine, allocation) = engine(slots).unwrap();
            let here = engine.precompile_component(&component).unwrap();
            assert!(crate::precompile(&component, allocation).unwrap() == here, "{allocation:?}");
            assert!(crate::precompile(&component, other(allocation)).unwrap() != here, "{allocation:?}");
        }
    }

    #[test]
    fn refuses_what_no_guest_needs() {
        let cases = [
            ("tail calls", "(module (func $f return_call $f))"),
            ("64-bit memory", "(module (memory i64 1))"),
            ("two memories", "(module (memory 1) (memory 1))"),
            ("shared memory", "(module (memory 1 1 shared))"),
            ("exceptions", "(module (tag))"),
            (
                "relaxed simd",
                "(module (func (param v128 v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))))",
            ),
            ("gc", "(module (type (struct (field i32))))"),
            ("function references", "(module (type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0))))"),
        ];
        let (engine, _) = engine(4).unwrap();
        for (what, module) in cases {
            let wasm = wat::parse_str(module).unwrap();
            assert!(wasmtime::Module::new(&engine, wasm).is_err(), "{what} must be refused");
        }
        let plain = wat::parse_str("(module (memory 1) (table 4 funcref) (func))").unwrap();
        wasmtime::Module::new(&engine, plain).unwrap();
    }
}
