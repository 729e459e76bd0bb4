//! The configuration of the pipeline that serves: [`LoadedSettings`], for the console.
//!
//! Each load replaces it as a whole.

use std::sync::Arc;

use ampoule_config::{Config, InjectorConfig};
use arc_swap::ArcSwapOption;

/// The settings of the last pipeline. Cheap to clone.
#[derive(Clone, Default)]
pub struct LoadedSettings(Arc<ArcSwapOption<SettingsInUse>>);

/// The settings of a pipeline.
#[derive(Clone, Debug)]
pub struct SettingsInUse {
    /// The configuration.
    pub config: Arc<Config>,
    /// The injectors whose plugins serve, also those of ConfigMaps. A plugin that stays although a
    /// new one does not load has its previous entry.
    pub injectors: Vec<InjectorConfig>,
}

// === impl LoadedSettings ===

impl LoadedSettings {
    /// Returns the current settings; `None` before the first load.
    #[must_use]
    pub fn get(&self) -> Option<Arc<SettingsInUse>> {
        self.0.load_full()
    }

    /// Replaces the settings.
    pub fn set(&self, settings: SettingsInUse) {
        self.0.store(Some(Arc::new(settings)));
    }
}
