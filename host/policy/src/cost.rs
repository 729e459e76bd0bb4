//! The cost of an expression in steps, and the budgets.
//!
//! A step is the evaluation of one node, the comparison of 16 bytes or the copy of 4 bytes. The
//! cost is an upper bound: it assumes that every branch is taken and every loop runs to its end.

/// Maximum cost of one rule over the largest accepted inputs, in steps.
pub const RULE_BUDGET: u64 = 500_000;

/// Maximum cost of all evaluations for one pod, over its actual inputs, in steps.
pub const ADMISSION_BUDGET: u64 = 2_000_000;

/// Bytes that a comparison or a search reads in one step.
const READ: u64 = 16;

/// Bytes that a copy writes in one step. A copy also allocates.
const COPY: u64 = 4;

/// Steps per byte that a regular expression reads. The size of a compiled pattern is limited.
const MATCH: u64 = 32;

/// The steps of reading this number of bytes.
pub(crate) fn reading(bytes: u64) -> u64 {
    bytes.div_ceil(READ)
}

/// The steps of copying this number of bytes.
pub(crate) fn copying(bytes: u64) -> u64 {
    bytes.div_ceil(COPY)
}

/// The steps of matching text of this number of bytes.
pub(crate) fn matching(bytes: u64) -> u64 {
    bytes.saturating_mul(MATCH)
}
