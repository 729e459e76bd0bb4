//! [`LeasedAnswer`]: the bytes of an answer, and the memory that they use until they are written.
//!
//! A client that does not read keeps its answers in memory. They count in the memory pool like the
//! requests, so that such clients cannot exceed it.

use std::sync::Arc;

use bytes::Bytes;

use crate::memory::MemoryLease;

/// An answer that has not been written yet.
pub(super) struct LeasedAnswer {
    bytes: Vec<u8>,
    _lease: Arc<MemoryLease>,
}

// === impl LeasedAnswer ===

impl LeasedAnswer {
    /// Wraps an answer. From now on, the lease is that of the answer alone. It ends when the last
    /// part of the answer has been written or discarded.
    pub(super) fn wrap(bytes: Vec<u8>, lease: Arc<MemoryLease>) -> Bytes {
        lease.set(bytes.len());
        Bytes::from_owner(Self { bytes, _lease: lease })
    }
}

impl AsRef<[u8]> for LeasedAnswer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
