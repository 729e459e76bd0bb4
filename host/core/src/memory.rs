//! [`AdmissionMemory`]: the memory that one admission may use.
//!
//! The pool is in another crate; this one has no I/O and no locks.

/// The memory of one admission, which a pool of all admissions bounds.
pub trait AdmissionMemory: Send + Sync {
    /// Reserves `bytes` in addition, until the answer has been written. `false` if the pool is
    /// exhausted; then nothing more is reserved.
    fn grow(&self, bytes: usize) -> bool;
}

/// Memory without a bound, for commands and tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnlimitedMemory;

// === impl UnlimitedMemory ===

impl AdmissionMemory for UnlimitedMemory {
    fn grow(&self, _bytes: usize) -> bool {
        true
    }
}
