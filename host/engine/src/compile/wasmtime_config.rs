//! The settings of wasmtime: the features that guests can use, and the source of their memory.
//!
//! Every number comes from DESIGN.md, "Hosting components", unless its comment names another
//! source.

use wasmtime::{Config, Engine, InstanceAllocationStrategy};
#[cfg(feature = "compiler")]
use wasmtime::{Enabled, PoolingAllocationConfig, RegallocAlgorithm};

#[cfg(feature = "compiler")]
use crate::sandbox::limits::{CORE_INSTANCES, MEMORIES, TABLE_ELEMENTS, TABLES};
use ampoule_component::DISABLED;

/// Bytes of stack for wasm. This is wasmtime's default; a JavaScript guest needs half of it.
const WASM_STACK: usize = 512 << 10;

/// Bytes of stack for a call: wasm and the host functions that it calls. The margin is wide,
/// because only touched pages cost memory, and a host function that overflows the stack ends the
/// process.
const CALL_STACK: usize = 2 << 20;

/// Bytes of memory that a pool slot keeps for its next guest, instead of returning them to the
/// system.
#[cfg(feature = "compiler")]
const KEPT_MEMORY: usize = 128 << 10;

/// Like [`KEPT_MEMORY`], for tables.
#[cfg(feature = "compiler")]
const KEPT_TABLE: usize = 16 << 10;

/// Unused slots that keep memory. This bounds the kept memory of an idle webhook to 4 MiB.
#[cfg(feature = "compiler")]
const WARM_SLOTS: u32 = 32;

/// Frames of a backtrace in the log of a trap.
const BACKTRACE_FRAMES: std::num::NonZeroUsize = std::num::NonZeroUsize::new(16).expect("16 is not zero");

/// The source of the memory of instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// A pool that is reserved at start. This is faster.
    Pooling,
    /// The operating system, for each instance. This is the fallback if the address space is too
    /// small for the pool.
    OnDemand,
    /// The operating system, for code that wasmtime interprets on every platform.
    Portable,
}

// === impl Allocation ===

impl Allocation {
    /// Its name in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pooling => "pooling",
            Self::OnDemand => "on-demand",
            Self::Portable => "portable",
        }
    }
}

/// Creates an engine for `max_concurrent` concurrent instances: with a pool, or on demand if the
/// address space is too small for the pool.
#[cfg(feature = "compiler")]
pub(crate) fn running_engine(max_concurrent: u32) -> wasmtime::Result<(Engine, Allocation)> {
    let pooled = Engine::new(common().allocation_strategy(InstanceAllocationStrategy::Pooling(pool(max_concurrent))));
    match pooled {
        Ok(engine) => Ok((engine, Allocation::Pooling)),
        Err(error) => {
            tracing::warn!(
                max_concurrent,
                error = format!("{error:#}"),
                "not enough address space for the instance pool, so instances are allocated on demand \
                 (raise `ulimit -v`)"
            );
            Ok((Engine::new(&on_demand())?, Allocation::OnDemand))
        }
    }
}

/// Creates an engine that runs portable code.
pub(crate) fn portable_engine() -> wasmtime::Result<Engine> {
    Engine::new(&portable()?)
}

/// Creates an engine that compiles code for an engine with this allocation. It reserves no pool.
#[cfg(feature = "compiler")]
pub(crate) fn compiler_engine(allocation: Allocation) -> wasmtime::Result<Engine> {
    match allocation {
        // The code depends only on the layout of memory, not on its source.
        Allocation::Pooling => Engine::new(&common()),
        Allocation::OnDemand => Engine::new(&on_demand()),
        Allocation::Portable => portable_engine(),
    }
}

fn common() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(CALL_STACK)
        .wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES))
        .shared_memory(false)
        .gc_support(false);
    for (_, feature) in DISABLED {
        config.wasm_features(feature, false);
    }
    #[cfg(feature = "compiler")]
    config
        // The same pod must get the same answer on every machine.
        .cranelift_nan_canonicalization(true)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking);
    config
}

/// Bytecode for the interpreter of wasmtime. Every platform that Kubernetes supports has 64 bits
/// and little endian, except s390x.
fn portable() -> wasmtime::Result<Config> {
    let mut config = on_demand();
    config.target("pulley64")?;
    Ok(config)
}

/// No pool, and no reservation of 4 GiB of address space per memory, which saves bounds checks.
fn on_demand() -> Config {
    let mut config = common();
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(0)
        .memory_reservation_for_growth(0)
        .memory_guard_size(64 << 10);
    config
}

#[cfg(feature = "compiler")]
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
        // Off, like memory protection keys (their crate feature is not compiled in): bugs in both
        // have leaked the memory of one instance to the next.
        .pagemap_scan(Enabled::No);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_back_to_on_demand_where_the_pool_does_not_fit() {
        // A pool for a million instances needs 8 PiB of address space, 64 times the maximum of a
        // process.
        assert_eq!(running_engine(1_000_000).unwrap().1, Allocation::OnDemand);
        assert_eq!(running_engine(4).unwrap().1, Allocation::Pooling);
    }

    #[test]
    fn precompiled_code_is_identical_to_code_that_the_engine_compiles() {
        let component =
            wat::parse_str("(component (core module (memory 1) (func (drop (i32.load (i32.const 0))))))").unwrap();
        let other = |allocation| match allocation {
            Allocation::Pooling => Allocation::OnDemand,
            Allocation::OnDemand | Allocation::Portable => Allocation::Pooling,
        };
        for slots in [1_000_000, 4] {
            let (engine, allocation) = running_engine(slots).unwrap();
            let here = engine.precompile_component(&component).unwrap();
            assert!(crate::precompile(&component, allocation).unwrap() == here, "{allocation:?}");
            assert!(crate::precompile(&component, other(allocation)).unwrap() != here, "{allocation:?}");
        }
    }

    #[test]
    fn rejects_disabled_features() {
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
        let (engine, _) = running_engine(4).unwrap();
        for (what, module) in cases {
            let wasm = wat::parse_str(module).unwrap();
            assert!(wasmtime::Module::new(&engine, wasm).is_err(), "{what} must be refused");
        }
        let plain = wat::parse_str("(module (memory 1) (table 4 funcref) (func))").unwrap();
        wasmtime::Module::new(&engine, plain).unwrap();
    }
}
