//! [`MemoryPool`]: the memory of all requests in progress, and the lease of each.
//!
//! A lease is charged for the body's bytes as they arrive, for the parsed document before it is
//! parsed, and for the edits of the pod. If the pool is exhausted, the largest body that is still
//! incomplete is evicted; a request with a complete body never is. The requests of one address have
//! at most half of the pool.

mod body;
mod pool_state;
#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use ampoule_core::AdmissionMemory;

pub(crate) use self::body::{ArrivingBody, CompleteBody};
use self::pool_state::{Charge, PoolState};

/// Bytes of the pool in a container without a memory limit.
const WITHOUT_LIMIT: usize = 128 << 20;
/// Bytes of the smallest pool: a body of the maximum size, and its document.
const SMALLEST: usize = 32 << 20;
/// Bytes of the largest pool: more than the usual reviews of `server.maxAdmissions` requests need.
const LARGEST: usize = 256 << 20;

/// The memory of all requests in progress.
pub struct MemoryPool {
    state: Mutex<PoolState>,
}

/// The memory of one request, until it is dropped.
pub(crate) struct MemoryLease {
    pool: Arc<MemoryPool>,
    peer: IpAddr,
    bytes: AtomicUsize,
}

// === impl MemoryPool ===

impl MemoryPool {
    /// A pool of this size in bytes.
    #[must_use]
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(PoolState::new(total)) })
    }

    /// A pool for a container with this memory limit: a third of it, between 32 and 256 MiB. The
    /// rest is for the plugins and the process itself.
    #[must_use]
    pub fn for_limit(limit: Option<u64>) -> Arc<Self> {
        Self::new(pool_size(limit))
    }

    /// The memory of a request of this address. It is empty at first.
    pub(crate) fn lease(self: &Arc<Self>, peer: IpAddr) -> Arc<MemoryLease> {
        Arc::new(MemoryLease { pool: Arc::clone(self), peer, bytes: AtomicUsize::new(0) })
    }

    /// The memory of a request that is not a review. It is empty at first.
    #[must_use]
    pub fn share(self: &Arc<Self>, peer: IpAddr) -> Arc<dyn AdmissionMemory> {
        self.lease(peer)
    }

    fn charge(&self, charge: Charge) -> bool {
        let outcome = self.lock().charge(charge);
        // Outside of the lock: freeing megabytes takes a while.
        let Some(evicted) = outcome else { return false };
        evicted.iter().for_each(|buffer| buffer.evict());
        true
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.lock().used()
    }
}

fn pool_size(limit: Option<u64>) -> usize {
    match limit {
        Some(limit) => usize::try_from(limit / 3).unwrap_or(LARGEST).clamp(SMALLEST, LARGEST),
        None => WITHOUT_LIMIT,
    }
}

// === impl MemoryLease ===

impl MemoryLease {
    /// Starts a body that arrives in parts.
    pub(crate) fn body(self: &Arc<Self>) -> ArrivingBody {
        ArrivingBody::new(Arc::clone(self))
    }

    /// Returns memory that the request has freed.
    fn shrink(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.lock().release(self.peer, bytes);
    }

    /// Changes the memory of the request to this size. An answer is never refused for its memory.
    pub(crate) fn set(&self, bytes: usize) {
        let before = self.bytes.load(Ordering::Relaxed);
        if before > bytes {
            self.shrink(before - bytes);
        } else {
            let _ = self.grow(bytes - before);
        }
    }

    /// Takes over memory that is already charged.
    fn adopt(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl AdmissionMemory for MemoryLease {
    fn grow(&self, bytes: usize) -> bool {
        let is_charged = self.pool.charge(Charge { peer: self.peer, bytes, body: None });
        if is_charged {
            self.adopt(bytes);
        }
        is_charged
    }
}

impl Drop for MemoryLease {
    fn drop(&mut self) {
        self.pool.lock().release(self.peer, *self.bytes.get_mut());
    }
}
