//! [`Exceeded`]: the bound of [`Limits`](ampoule_core::Limits) that a guest exceeded.
//!
//! The bounds themselves are in the core, because the configuration sets them.

pub use ampoule_core::Limits;

/// Which of them a guest ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{self:?}")]
pub(crate) enum Exceeded {
    Memory,
    TableElements,
    HostCalls,
    HostBytes,
    Handles,
    HttpFields,
    Edits(usize),
    OutputBytes,
}
