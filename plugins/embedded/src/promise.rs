//! The promises of the plugin: what `fetch` needs to find a value.
//!
//! A promise contains names only.

use ampoule_plugin_sdk::InjectionError;
use serde::{Deserialize, Serialize};

use crate::scope::Coordinates;

/// A promise of the plugin.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) enum Promise {
    /// The value of a secret, in the narrowest scope that has it.
    Secret { of: Coordinates, key: String },
    /// An image pull secret that another program created, by its name.
    PullSecret(String),
}

// === impl Promise ===

impl Promise {
    pub(crate) fn parse(text: &str) -> Result<Self, InjectionError> {
        serde_json::from_str(text).map_err(|_| InjectionError::internal("not a promise"))
    }

    pub(crate) fn text(&self) -> Result<String, InjectionError> {
        serde_json::to_string(self).map_err(|_| InjectionError::internal("a promise has no JSON form"))
    }
}
