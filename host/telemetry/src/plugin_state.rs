//! [`PluginState`]: whether a configured plugin serves.
//!
//! Metrics, the admin port and `ampoule plugin list` report it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether the configured component of a plugin serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginState {
    /// The configured component serves.
    Loaded,
    /// The configured component failed to load; the previous one still serves.
    ServingPrevious,
    /// No component serves, and pods whose secret no other injector has are refused.
    Failed,
    /// No component serves yet: the plugin is being fetched or compiled.
    Loading,
    /// The plugin is not used: the configuration has another plugin of the same name.
    Ignored,
}

// === impl PluginState ===

impl PluginState {
    /// The states of plugins that are in use.
    pub const ALL: [Self; 4] = [Self::Loaded, Self::ServingPrevious, Self::Failed, Self::Loading];

    /// The name in metrics and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::ServingPrevious => "serving-previous",
            Self::Failed => "failed",
            Self::Loading => "loading",
            Self::Ignored => "ignored",
        }
    }
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
