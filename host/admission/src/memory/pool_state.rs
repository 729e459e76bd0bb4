//! [`PoolState`]: who has which part of the pool, and which body is evicted.
//!
//! It only counts: the caller frees the bytes of an evicted body, outside of the lock.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use super::body::BodyBuffer;

/// The parts of the pool in use.
pub(super) struct PoolState {
    total: usize,
    used: usize,
    per_peer: HashMap<IpAddr, usize>,
    incomplete: HashMap<u64, IncompleteBody>,
    next: u64,
}

/// A request for more memory.
#[derive(Clone, Copy)]
pub(super) struct Charge {
    pub(super) peer: IpAddr,
    pub(super) bytes: usize,
    /// The incomplete body that grows. `None` if the request is complete.
    pub(super) body: Option<u64>,
}

struct IncompleteBody {
    peer: IpAddr,
    bytes: usize,
    buffer: Arc<BodyBuffer>,
}

// === impl PoolState ===

impl PoolState {
    pub(super) fn new(total: usize) -> Self {
        Self { total, used: 0, per_peer: HashMap::new(), incomplete: HashMap::new(), next: 0 }
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn begin_body(&mut self, peer: IpAddr, buffer: Arc<BodyBuffer>) -> u64 {
        self.next += 1;
        self.incomplete.insert(self.next, IncompleteBody { peer, bytes: 0, buffer });
        self.next
    }

    /// Ends a body. Returns its bytes, which stay charged; `None` if it was evicted.
    pub(super) fn end_body(&mut self, id: u64) -> Option<usize> {
        self.incomplete.remove(&id).map(|body| body.bytes)
    }

    /// Charges the pool. Returns the bodies that were evicted for it; `None` if that is not
    /// possible, or if the body that grows was itself evicted.
    pub(super) fn charge(&mut self, charge: Charge) -> Option<Vec<Arc<BodyBuffer>>> {
        if charge.body.is_some_and(|id| !self.incomplete.contains_key(&id)) || !self.can_fit(charge) {
            return None;
        }
        let mut evicted = Vec::new();
        while self.lacks_memory(charge) {
            evicted.push(self.evict_larger(charge)?);
        }
        self.used += charge.bytes;
        *self.per_peer.entry(charge.peer).or_default() += charge.bytes;
        if let Some(body) = charge.body.and_then(|id| self.incomplete.get_mut(&id)) {
            body.bytes += charge.bytes;
        }
        Some(evicted)
    }

    pub(super) fn release(&mut self, peer: IpAddr, bytes: usize) {
        self.used -= bytes;
        if let Some(share) = self.per_peer.get_mut(&peer) {
            *share -= bytes;
            if *share == 0 {
                self.per_peer.remove(&peer);
            }
        }
    }

    fn lacks_memory(&self, charge: Charge) -> bool {
        self.peer_lacks_memory(charge) || self.used + charge.bytes > self.total
    }

    fn peer_lacks_memory(&self, charge: Charge) -> bool {
        self.of_peer(charge.peer) + charge.bytes > self.total / 2
    }

    fn of_peer(&self, peer: IpAddr) -> usize {
        self.per_peer.get(&peer).copied().unwrap_or_default()
    }

    /// Whether the charge fits once every body that it may evict is evicted. Otherwise no body is.
    fn can_fit(&self, charge: Charge) -> bool {
        if !self.lacks_memory(charge) {
            return true;
        }
        let (mut all, mut of_peer) = (0, 0);
        for (_, body) in self.larger(charge) {
            all += body.bytes;
            of_peer += if body.peer == charge.peer { body.bytes } else { 0 };
        }
        self.used + charge.bytes <= self.total + all
            && self.of_peer(charge.peer) + charge.bytes <= self.total / 2 + of_peer
    }

    /// The bodies that this charge may evict. For a body that grows, these are larger bodies.
    fn larger(&self, charge: Charge) -> impl Iterator<Item = (&u64, &IncompleteBody)> {
        let own = charge.body.and_then(|id| self.incomplete.get(&id)).map(|body| body.bytes + charge.bytes);
        self.incomplete.iter().filter(move |(id, body)| {
            Some(**id) != charge.body && body.bytes > 0 && own.is_none_or(|own| body.bytes >= own)
        })
    }

    /// Evicts the largest body; of the peer, if the peer has more than its share.
    fn evict_larger(&mut self, charge: Charge) -> Option<Arc<BodyBuffer>> {
        let only_peer = self.peer_lacks_memory(charge);
        let candidates = self.larger(charge).filter(|(_, body)| !only_peer || body.peer == charge.peer);
        let (id, _) = candidates.max_by_key(|(id, body)| (body.bytes, **id))?;
        let id = *id;
        let body = self.incomplete.remove(&id)?;
        self.release(body.peer, body.bytes);
        Some(body.buffer)
    }
}
