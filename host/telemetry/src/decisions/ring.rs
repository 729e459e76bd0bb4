//! [`Ring`]: the last entries of a kind, as many as fit into a number of bytes.
//!
//! The lock is held only to move or select pointers; entries are built and freed without it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::DecisionFilter;

/// The entry of a ring.
pub(super) trait RingEntry {
    /// The memory of the entry, from below: the allocator adds its own.
    fn bytes(&self) -> usize;

    /// The namespace of the pod.
    fn namespace(&self) -> &str;
}

/// The last entries, the oldest first.
pub(super) struct Ring<T> {
    max_bytes: usize,
    state: Mutex<RingState<T>>,
}

pub(super) struct RingState<T> {
    pub(super) entries: VecDeque<(u64, Arc<T>)>,
    pub(super) bytes: usize,
    /// The number of the last entry.
    last: u64,
}

// === impl Ring ===

impl<T: RingEntry> Ring<T> {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, state: Mutex::new(RingState { entries: VecDeque::new(), bytes: 0, last: 0 }) }
    }

    /// Adds an entry, and drops the oldest ones that no longer fit.
    pub(super) fn add(&self, entry: T) {
        let bytes = entry.bytes();
        let dropped = self.lock().push(Arc::new(entry), bytes, self.max_bytes);
        drop(dropped);
    }

    /// Returns the newest entries that the filter selects, the oldest of them first.
    pub(super) fn select(&self, filter: &DecisionFilter<'_>) -> Vec<(u64, Arc<T>)> {
        let state = self.lock();
        let newest = state.entries.iter().rev().take_while(|(number, _)| *number > filter.after);
        let selected = newest.filter(|(_, entry)| filter.namespace.is_none_or(|name| entry.namespace() == name));
        let mut found: Vec<_> =
            selected.take(filter.limit).map(|(number, entry)| (*number, Arc::clone(entry))).collect();
        drop(state);
        found.reverse();
        found
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, RingState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl RingState ===

impl<T: RingEntry> RingState<T> {
    /// Adds an entry, and returns those that were dropped, for the caller to free without the lock.
    fn push(&mut self, entry: Arc<T>, bytes: usize, max_bytes: usize) -> Vec<Arc<T>> {
        self.last += 1;
        self.bytes += bytes;
        self.entries.push_back((self.last, entry));
        let mut dropped = Vec::new();
        while self.bytes > max_bytes {
            let Some((_, oldest)) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes();
            dropped.push(oldest);
        }
        dropped
    }
}
