//! [`PluginInjector`]: a loaded plugin, as the core asks it.
//!
//! It holds what does not change between admissions: the compiled component with its imports resolved, settings and limits.

use std::{fmt, sync::Arc};

use ampoule_core::{InjectorSession, SecretInjector};
use tokio::sync::Semaphore;

use crate::{
    context::PluginContext, contract::PluginPre, limits::Limits, load::PluginInfo, running::PluginSettings,
    session::PluginSession, store::PluginState,
};

/// A plugin that took its settings and can be asked. Clones are the same plugin.
///
/// Each admission gets an instance of its own, so that nothing a guest keeps in memory is ever seen by another pod.
#[derive(Clone)]
pub struct PluginInjector(Arc<Loaded>);

/// What does not change between admissions.
pub(crate) struct Loaded {
    pub(crate) context: Arc<PluginContext>,
    pub(crate) pre: PluginPre<PluginState>,
    pub(crate) instances: Arc<Semaphore>,
    pub(crate) info: PluginInfo,
    pub(crate) source: String,
    pub(crate) digest: String,
    pub(crate) settings: PluginSettings,
}

// === impl PluginInjector ===

impl PluginInjector {
    pub(crate) fn new(loaded: Loaded) -> Self {
        Self(Arc::new(loaded))
    }

    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.0)
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.context.name
    }

    /// The version that it says it has.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.0.info.version
    }

    /// What it says of itself.
    #[must_use]
    pub fn info(&self) -> &PluginInfo {
        &self.0.info
    }

    /// Where its component came from, as the configuration writes it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// SHA-256 of its component, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// What it may use.
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
    /// Without the settings, which may name what an admin would rather not see in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loaded { context, info, source, digest, .. } = &*self.0;
        f.debug_struct("PluginInjector")
            .field("name", &context.name)
            .field("version", &info.version)
            .field("source", source)
            .field("digest", digest)
            .finish_non_exhaustive()
    }
}
