//! What all instances of one plugin have in common on the host's side: [`PluginContext`].
//!
//! An instance's state holds one pointer to it, so that a plugin costs the same whatever it was granted.

use std::sync::Arc;

use crate::{
    engine::Shared,
    grants::{Grant, Grants},
    limits::Limits,
    observer::PluginObserver,
};

/// A plugin's name, what it may use, what it was granted, and the engine that it runs on.
pub(crate) struct PluginContext {
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) grants: Grants,
    pub(crate) observer: Arc<dyn PluginObserver>,
    pub(crate) shared: Arc<Shared>,
}

// === impl PluginContext ===

impl PluginContext {
    /// A call was refused that no grant covers.
    pub(crate) fn denied(&self, grant: Grant) {
        self.observer.denied(grant);
    }
}
