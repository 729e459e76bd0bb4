//! [`ConnectionTable`]: the open connections of one port, limited in total and per peer.
//!
//! A new connection above a limit takes the place of the connection that has been idle for longest:
//! above the limit of its peer, of a connection of the same peer. One client therefore cannot
//! occupy the port, and a client with idle connections only loses its own.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use super::{activity::Activity, limits::ConnectionLimits};

/// Interval at which a waiting connection looks for one that has become idle.
const RETRY: Duration = Duration::from_millis(20);
/// Evicted connections that may still end their last requests. They are not counted as open.
const MAX_LEAVING: usize = 64;

/// The open connections of one port.
pub(super) struct ConnectionTable {
    limits: ConnectionLimits,
    open: Mutex<OpenConnections>,
    /// A connection has ended.
    ended: Notify,
}

#[derive(Default)]
struct OpenConnections {
    next: u64,
    staying: HashMap<u64, TableEntry>,
    per_peer: HashMap<IpAddr, usize>,
    leaving: usize,
}

struct TableEntry {
    peer: IpAddr,
    activity: Arc<Activity>,
    evicted: Arc<Notify>,
}

/// The place of one connection in the table, until it is dropped.
pub(super) struct ConnectionSlot {
    table: Arc<ConnectionTable>,
    id: u64,
    activity: Arc<Activity>,
    evicted: Arc<Notify>,
}

/// Why a connection gets no slot now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// All connections of the port are busy.
    Port,
    /// All connections of the peer are busy.
    Peer,
}

// === impl ConnectionTable ===

impl ConnectionTable {
    pub(super) fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, open: Mutex::default(), ended: Notify::new() })
    }

    /// Returns a slot once there is one. `None`: this peer has too many busy connections; the
    /// caller closes the new one, so that it does not delay the connections of other peers.
    pub(super) async fn slot(self: &Arc<Self>, peer: IpAddr) -> Option<ConnectionSlot> {
        loop {
            match self.take_slot(peer) {
                Ok(slot) => return Some(slot),
                Err(NoSlot::Peer) => return None,
                // The time limit is for connections that become idle: they send no notification.
                Err(NoSlot::Port) => _ = timeout(RETRY, self.ended.notified()).await,
            }
        }
    }

    /// Returns a slot if there is one now.
    pub(super) fn take_slot(self: &Arc<Self>, peer: IpAddr) -> Result<ConnectionSlot, NoSlot> {
        let mut open = self.lock();
        if open.of_peer(peer) >= self.limits.per_peer {
            open.evict(Some(peer), self.limits.moment).ok_or(NoSlot::Peer)?;
        } else if open.staying.len() >= self.limits.total {
            open.evict(None, self.limits.moment).ok_or(NoSlot::Port)?;
        }
        let (activity, evicted) = (Arc::new(Activity::new()), Arc::new(Notify::new()));
        let entry = TableEntry { peer, activity: Arc::clone(&activity), evicted: Arc::clone(&evicted) };
        let id = open.insert(entry);
        Ok(ConnectionSlot { table: Arc::clone(self), id, activity, evicted })
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl OpenConnections ===

impl OpenConnections {
    fn of_peer(&self, peer: IpAddr) -> usize {
        self.per_peer.get(&peer).copied().unwrap_or_default()
    }

    fn insert(&mut self, entry: TableEntry) -> u64 {
        self.next += 1;
        *self.per_peer.entry(entry.peer).or_default() += 1;
        self.staying.insert(self.next, entry);
        self.next
    }

    /// Evicts the connection that has been idle for longest, and for `moment` at least.
    fn evict(&mut self, peer: Option<IpAddr>, moment: Duration) -> Option<()> {
        if self.leaving >= MAX_LEAVING {
            return None;
        }
        let candidates = self.staying.iter().filter(|(_, entry)| peer.is_none_or(|peer| peer == entry.peer));
        let idle = candidates.filter(|(_, entry)| !entry.activity.is_busy() && entry.activity.was_idle_for(moment));
        let (id, _) = idle.min_by_key(|(id, entry)| (entry.activity.idle_since(), **id))?;
        let entry = self.remove(*id)?;
        entry.evicted.notify_one();
        self.leaving += 1;
        Some(())
    }

    fn remove(&mut self, id: u64) -> Option<TableEntry> {
        let entry = self.staying.remove(&id)?;
        if let Some(count) = self.per_peer.get_mut(&entry.peer) {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&entry.peer);
            }
        }
        Some(entry)
    }
}

// === impl ConnectionSlot ===

impl ConnectionSlot {
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Returns once another connection has taken this one's place.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.table.lock();
        if open.remove(self.id).is_none() {
            open.leaving -= 1;
        }
        drop(open);
        self.table.ended.notify_one();
    }
}
