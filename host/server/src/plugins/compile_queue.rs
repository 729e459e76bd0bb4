//! [`CompileQueue`]: one compilation at a time, in the order of priority.
//!
//! A compiler takes up to 512 MiB. Plugins of the configuration do not wait for those of
//! ConfigMaps, of which there may be many.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::slot::SlotKey;

/// Who compiles first. Within a priority, the order is that of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CompilePriority {
    /// A required plugin.
    Required,
    /// Another plugin of the configuration.
    Configured,
    /// A plugin of a ConfigMap that changed during the load.
    Changed,
    /// A plugin of a ConfigMap.
    Listed,
}

/// Grants turns to compile.
#[derive(Default)]
pub(super) struct CompileQueue(Mutex<QueueState>);

#[derive(Default)]
struct QueueState {
    /// Whether only required plugins get a turn.
    is_restricted: bool,
    /// The holder of the turn.
    current: Option<Waiter>,
    arrivals: u64,
    waiting: BTreeMap<(CompilePriority, u64), (SlotKey, oneshot::Sender<CompileTurn>)>,
}

/// A plugin that waits for its turn, or has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) priority: CompilePriority,
    pub(super) key: SlotKey,
}

/// The right to compile, until it is dropped.
pub(super) struct CompileTurn(Arc<CompileQueue>);

// === impl CompileQueue ===

impl CompileQueue {
    /// Waits for a turn. Cancel safe.
    pub(super) async fn turn(self: &Arc<Self>, waiter: Waiter) -> CompileTurn {
        let (sender, granted) = oneshot::channel();
        {
            let mut state = self.lock();
            state.waiting.retain(|_, (_, sender)| !sender.is_closed());
            let position = (waiter.priority, state.arrivals);
            state.arrivals += 1;
            state.waiting.insert(position, (waiter.key, sender));
        }
        self.grant();
        granted.await.expect("the queue keeps every waiter that has not ended")
    }

    /// Sets whether only required plugins get a turn. A plugin that has the turn keeps it.
    pub(super) fn restrict(self: &Arc<Self>, is_restricted: bool) {
        self.lock().is_restricted = is_restricted;
        self.grant();
    }

    /// Returns the plugin that has the turn.
    pub(super) fn current(&self) -> Option<Waiter> {
        self.lock().current.clone()
    }

    /// Gives the turn to the first waiter, if no plugin has it.
    fn grant(self: &Arc<Self>) {
        if let Some(sender) = self.take_next() {
            // If the waiter has ended, the turn is dropped here, and the next waiter gets it.
            drop(sender.send(CompileTurn(Arc::clone(self))));
        }
    }

    fn take_next(&self) -> Option<oneshot::Sender<CompileTurn>> {
        let mut state = self.lock();
        if state.current.is_some() {
            return None;
        }
        let (first, _) = state.waiting.first_key_value()?;
        if state.is_restricted && first.0 != CompilePriority::Required {
            return None;
        }
        let ((priority, _), (key, sender)) = state.waiting.pop_first()?;
        state.current = Some(Waiter { priority, key });
        Some(sender)
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CompileTurn {
    fn drop(&mut self) {
        self.0.lock().current = None;
        self.0.grant();
    }
}

#[cfg(test)]
mod tests {
    use tokio::{sync::mpsc, task::yield_now};

    use super::*;

    fn waiter(priority: CompilePriority, name: &str) -> Waiter {
        Waiter { priority, key: SlotKey { from_config_map: true, name: name.to_owned() } }
    }

    #[tokio::test]
    async fn the_first_priority_compiles_first_and_a_waiter_that_ended_is_skipped() {
        use CompilePriority::{Changed, Configured, Listed, Required};
        let (queue, (sender, mut granted)) = (Arc::new(CompileQueue::default()), mpsc::unbounded_channel());
        let first = queue.turn(waiter(Listed, "first")).await;
        let mut tasks = Vec::new();
        for (priority, name) in [(Listed, "a"), (Changed, "b"), (Configured, "c"), (Changed, "d"), (Required, "e")] {
            let (queue, sender) = (Arc::clone(&queue), sender.clone());
            tasks.push(tokio::spawn(async move {
                let turn = queue.turn(waiter(priority, name)).await;
                sender.send(name).unwrap();
                drop(turn);
            }));
            yield_now().await;
        }
        assert_eq!(queue.current(), Some(waiter(Listed, "first")));
        queue.restrict(true);
        tasks[3].abort();
        yield_now().await;
        drop(first);
        assert_eq!(granted.recv().await, Some("e"));
        yield_now().await;
        assert!(granted.try_recv().is_err(), "the others wait");
        queue.restrict(false);
        for expected in ["c", "b", "a"] {
            assert_eq!(granted.recv().await, Some(expected));
        }
        yield_now().await;
        assert_eq!(queue.current(), None);
    }
}
