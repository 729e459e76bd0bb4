//! [`InstancePermit`]: bounds the number of concurrent instances, per plugin and over all plugins.
//!
//! A session releases its permit with its instance.

use std::sync::Arc;

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use super::{failure::Failure, prepared::PreparedPlugin};

/// The permit for one instance: one of the plugin's permits, and one of the engine's.
pub(crate) struct InstancePermit {
    _plugin: OwnedSemaphorePermit,
    _engine: OwnedSemaphorePermit,
}

// === impl InstancePermit ===

impl InstancePermit {
    /// Waits for a permit, at most for [`Limits::queue_wait`](crate::Limits::queue_wait).
    pub(crate) async fn acquire(plugin: &PreparedPlugin) -> Result<Self, Failure> {
        let queue_end = Instant::now() + plugin.context.limits.queue_wait;
        let acquired = timeout_at(queue_end, Self::acquire_both(plugin)).await;
        acquired.ok().flatten().ok_or(Failure::Busy)
    }

    async fn acquire_both(plugin: &PreparedPlugin) -> Option<Self> {
        let own = Arc::clone(&plugin.instances).acquire_owned().await.ok()?;
        let engine = Arc::clone(&plugin.runtime.instances).acquire_owned().await.ok()?;
        Some(Self { _plugin: own, _engine: engine })
    }
}
