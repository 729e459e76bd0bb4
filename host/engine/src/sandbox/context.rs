//! [`PluginContext`]: what all instances of one plugin share on the host's side.
//!
//! The state of an instance holds one pointer to it, so that an instance costs the same for any
//! number of grants.

use ampoule_core::Grant;
use ampoule_core::Limits;
use std::sync::Arc;

use super::{grants::Grants, services::HostServices};
use ampoule_core::PluginObserver;

/// A plugin's name, limits and grants, and the services that the grants give access to.
pub(crate) struct PluginContext {
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) grants: Grants,
    pub(crate) observer: Arc<dyn PluginObserver>,
    pub(crate) services: Arc<HostServices>,
}

// === impl PluginContext ===

impl PluginContext {
    /// Reports a refused call that no grant covers.
    pub(crate) fn report_denied(&self, grant: Grant) {
        self.observer.denied(grant);
    }
}
