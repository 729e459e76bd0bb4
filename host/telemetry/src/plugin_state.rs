//! [`PluginState`]: whether a configured plugin serves.
//!
//! Metrics, the admin port and `ampoule plugin list` report it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether what is configured serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginState {
    /// It does.
    Loaded,
    /// It does not, and what did before serves on.
    ServingPrevious,
    /// It does not, and pods that ask it are told so.
    Failed,
    /// It is not asked: the configuration has another of its name.
    Ignored,
}

// === impl PluginState ===

impl PluginState {
    /// Those of plugins that are asked.
    pub const ALL: [Self; 3] = [Self::Loaded, Self::ServingPrevious, Self::Failed];

    /// As metrics and people are told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::ServingPrevious => "serving-previous",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
        }
    }
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
