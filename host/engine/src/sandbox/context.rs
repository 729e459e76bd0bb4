//! [`PluginContext`]: what all instances of one plugin share on the host's side.
//!
//! The state of an instance holds one pointer to it, so that an instance costs the same for any
//! number of grants.

use std::sync::Arc;

use ampoule_core::{Conventions, Grant, Limits, PluginObserver};

use super::{cache::PluginCache, grants::Grants, log::GuestLogLevel, services::HostServices};

/// A plugin's name, limits and grants, and the services that the grants give access to.
pub(crate) struct PluginContext {
    pub(crate) name: String,
    /// Whether its answers are recorded.
    pub(crate) reuses_answers: bool,
    pub(crate) limits: Limits,
    pub(crate) conventions: Conventions,
    /// Shared by all admissions, for a plugin with the grant.
    pub(crate) cache: PluginCache,
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

    /// Writes a warning of the host to the destination of the plugin's lines, if one is set. A test
    /// of a plugin thus shows it below the lines of the plugin.
    pub(crate) fn diverts_warning(&self, warning: &str) -> bool {
        let Some(destination) = self.services.log.as_ref().filter(|log| log.takes_warnings_of_the_host()) else {
            return false;
        };
        destination.write(GuestLogLevel::Warn, warning);
        true
    }
}
