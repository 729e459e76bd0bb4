//! [`KeptValues`]: the serving plugins, for what happens to values outside an admission: another
//! program declares them outdated, or the search for old values fetches them again.
//!
//! Each load replaces the list.

use std::{sync::Arc, time::Duration};

use ampoule_config::ValueCacheConfig;
use ampoule_core::{CurrentValue, CurrentValues, PromiseOf};
use ampoule_engine::PluginInjector;
use arc_swap::ArcSwap;
use async_trait::async_trait;

use super::Loader;

/// The plugins that serve. Cheap to clone.
#[derive(Clone, Default)]
pub struct KeptValues(Arc<ArcSwap<Vec<ValuePlugin>>>);

/// A plugin, and how long the webhook keeps its values.
pub(super) struct ValuePlugin {
    pub(super) plugin: PluginInjector,
    pub(super) cache: ValueCacheConfig,
}

// === impl KeptValues ===

impl KeptValues {
    /// Replaces the list.
    pub(super) fn set(&self, plugins: Vec<ValuePlugin>) {
        self.0.store(Arc::new(plugins));
    }

    /// Forgets the values of all plugins with `cache.invalidation`, and returns their number.
    pub(crate) fn forget(&self) -> usize {
        let plugins = self.0.load();
        let outdated = plugins.iter().filter(|plugin| plugin.cache.invalidation);
        outdated.map(|plugin| plugin.plugin.forget_values()).count()
    }
}

#[async_trait]
impl CurrentValues for KeptValues {
    async fn fetch(&self, promise: &PromiseOf) -> Option<CurrentValue> {
        let plugins = self.0.load_full();
        let plugin = plugins.iter().find(|plugin| plugin.plugin.name() == promise.injector)?;
        let fetched = plugin.plugin.fetch(&promise.promise).await.ok()?;
        Some(CurrentValue { value: fetched.value, settles_in: plugin.settles_in() })
    }
}

// === impl ValuePlugin ===

impl ValuePlugin {
    fn settles_in(&self) -> Duration {
        self.cache.ttl
    }
}

// === impl Loader ===

impl Loader {
    /// Lists the serving plugins here.
    #[must_use]
    pub fn with_kept_values(self, kept_values: KeptValues) -> Self {
        Self { kept_values, ..self }
    }
}
