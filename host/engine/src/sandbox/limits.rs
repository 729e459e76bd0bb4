//! The bounds of the engine itself, and [`ExceededLimit`]: the limit that a guest exceeded.
//!
//! The bounds of the engine are constants, because wasmtime's pool is sized by them before any
//! plugin is known. The bounds of one plugin are [`Limits`](ampoule_core::Limits).

/// Core instances of one component. A Rust guest has four with its adapters, a Python guest about
/// twenty.
pub(crate) const CORE_INSTANCES: u32 = 64;

/// Linear memories of one component: its own and, with some tool chains, an adapter's.
pub(crate) const MEMORIES: u32 = 4;

/// Tables of one component.
pub(crate) const TABLES: u32 = 16;

/// Elements of one table. [`Limits::table_elements`](ampoule_core::Limits::table_elements) limits
/// the sum over all tables.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;

/// Bytes of the values of one answer: those of a Kubernetes Secret.
pub(crate) const VALUE_BYTES: usize = 1 << 20;

/// The limit that a guest exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{self:?}")]
pub(crate) enum ExceededLimit {
    Memory,
    TableElements,
    HostCalls,
    HostBytes,
    Handles,
    HttpFields,
    Edits,
    OutputBytes,
}
