//! [`ArrivingBody`]: a body that is read in parts, and can be evicted until it is complete.
//!
//! The pool reaches the bytes of such a body, so that an eviction frees them at once, whether or
//! not the client sends anything again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Charge, MemoryLease};

/// Bytes that an arriving body has at first.
const FIRST: usize = 1024;

/// The body was evicted, or the pool has no memory for its next part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyEvicted;

/// A body that arrives. Dropping it returns its memory.
pub(crate) struct ArrivingBody {
    lease: Arc<MemoryLease>,
    id: u64,
    buffer: Arc<BodyBuffer>,
    length: usize,
    capacity: usize,
}

/// A body that has arrived. Dropping it returns its memory.
pub(crate) struct CompleteBody {
    bytes: Vec<u8>,
    charged: usize,
    lease: Arc<MemoryLease>,
}

/// The bytes of an arriving body. `None` once they are evicted.
pub(super) struct BodyBuffer {
    bytes: Mutex<Option<Vec<u8>>>,
    evicted: Notify,
}

// === impl ArrivingBody ===

impl ArrivingBody {
    pub(super) fn new(lease: Arc<MemoryLease>) -> Self {
        let buffer = Arc::new(BodyBuffer { bytes: Mutex::new(Some(Vec::new())), evicted: Notify::new() });
        let id = lease.pool.lock().begin_body(lease.peer, Arc::clone(&buffer));
        Self { lease, id, buffer, length: 0, capacity: 0 }
    }

    /// The bytes that have arrived.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Appends a part. The memory is charged before it is allocated.
    pub(crate) fn extend(&mut self, part: &[u8]) -> Result<(), BodyEvicted> {
        let length = self.length + part.len();
        if length > self.capacity {
            // Doubled, so that the copies of all parts together take linear time.
            let capacity = length.max(2 * self.capacity).max(FIRST);
            let charge = Charge { peer: self.lease.peer, bytes: capacity - self.capacity, body: Some(self.id) };
            if !self.lease.pool.charge(charge) {
                return Err(BodyEvicted);
            }
            self.capacity = capacity;
        }
        let mut bytes = self.buffer.lock();
        let bytes = bytes.as_mut().ok_or(BodyEvicted)?;
        bytes.reserve_exact(self.capacity - bytes.len());
        bytes.extend_from_slice(part);
        self.length = length;
        Ok(())
    }

    /// Returns once the body was evicted.
    pub(crate) async fn evicted(&self) {
        self.buffer.evicted.notified().await;
    }

    /// Ends the body. From now on it cannot be evicted, and its lease has its memory.
    pub(crate) fn complete(self) -> Result<CompleteBody, BodyEvicted> {
        let charged = self.lease.pool.lock().end_body(self.id).ok_or(BodyEvicted)?;
        self.lease.adopt(charged);
        let bytes = self.buffer.lock().take().ok_or(BodyEvicted)?;
        Ok(CompleteBody { bytes, charged, lease: Arc::clone(&self.lease) })
    }
}

impl Drop for ArrivingBody {
    fn drop(&mut self) {
        let mut pool = self.lease.pool.lock();
        if let Some(bytes) = pool.end_body(self.id) {
            pool.release(self.lease.peer, bytes);
        }
    }
}

// === impl CompleteBody ===

impl CompleteBody {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for CompleteBody {
    fn drop(&mut self) {
        self.bytes = Vec::new();
        self.lease.shrink(self.charged);
    }
}

// === impl BodyBuffer ===

impl BodyBuffer {
    pub(super) fn evict(&self) {
        drop(self.lock().take());
        self.evicted.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
