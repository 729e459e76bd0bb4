//! [`PluginInjector`]: a loaded plugin, as the core calls it.
//!
//! Each admission opens a session, which creates its own instance.

use std::{fmt, sync::Arc};

use ampoule_core::{Grant, InjectorSession, Limits, SecretInjector};

use super::{prepared::PreparedPlugin, session::PluginSession};
use crate::contract::info::PluginInfo;

/// A plugin that accepted its settings and can serve requests. Clones share the same plugin.
///
/// Each admission gets its own instance, so that another pod never sees what a guest keeps in
/// memory.
#[derive(Clone)]
pub struct PluginInjector(Arc<PreparedPlugin>);

// === impl PluginInjector ===

impl PluginInjector {
    pub(crate) fn new(prepared: PreparedPlugin) -> Self {
        Self(Arc::new(prepared))
    }

    pub(crate) fn prepared(&self) -> &Arc<PreparedPlugin> {
        &self.0
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.context.name
    }

    /// Its version, as the plugin reports it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.0.info.version
    }

    /// The description that the plugin gives of itself.
    #[must_use]
    pub fn info(&self) -> &PluginInfo {
        &self.0.info
    }

    /// The source of its component, as written in the configuration.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// SHA-256 of its component, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// The grants that its imports need, and that it does not have. Calls of these imports are
    /// denied.
    #[must_use]
    pub fn missing_grants(&self) -> &[Grant] {
        &self.0.missing_grants
    }

    /// Forgets the values that the plugin fetched and the host keeps.
    pub fn forget_values(&self) {
        if let Some(values) = &self.0.values {
            values.forget();
        }
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.context.limits
    }
}

impl SecretInjector for PluginInjector {
    fn name(&self) -> &str {
        self.name()
    }

    fn digest(&self) -> Option<&str> {
        Some(self.digest())
    }

    fn open(&self) -> Box<dyn InjectorSession> {
        Box::new(PluginSession::new(Arc::clone(&self.0)))
    }
}

impl fmt::Debug for PluginInjector {
    /// Omits the settings, which may contain names that an admin does not want in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginInjector")
            .field("name", &self.name())
            .field("version", &self.version())
            .field("source", &self.source())
            .field("digest", &self.digest())
            .finish_non_exhaustive()
    }
}
