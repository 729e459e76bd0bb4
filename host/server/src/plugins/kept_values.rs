//! [`KeptValues`]: the plugins whose fetched values another program can declare outdated.
//!
//! Each load replaces the list.

use std::sync::Arc;

use ampoule_engine::PluginInjector;
use arc_swap::ArcSwap;

use super::Loader;

/// The plugins with `cache.invalidation`. Cheap to clone.
#[derive(Clone, Default)]
pub struct KeptValues(Arc<ArcSwap<Vec<PluginInjector>>>);

// === impl KeptValues ===

impl KeptValues {
    /// Replaces the list.
    pub(super) fn set(&self, plugins: Vec<PluginInjector>) {
        self.0.store(Arc::new(plugins));
    }

    /// Forgets the values of all plugins of the list, and returns their number.
    pub(crate) fn forget(&self) -> usize {
        let plugins = self.0.load();
        plugins.iter().for_each(PluginInjector::forget_values);
        plugins.len()
    }
}

// === impl Loader ===

impl Loader {
    /// Lists the plugins with `cache.invalidation` here.
    #[must_use]
    pub fn with_kept_values(self, kept_values: KeptValues) -> Self {
        Self { kept_values, ..self }
    }
}
