//! The placeholder in the chain for an optional plugin that is not loaded: [`MissingPlugin`].
//!
//! A pod whose secrets come from other plugins is not affected. A pod that needs this plugin is
//! refused, with the plugin's name and the reason.

use std::sync::Arc;

use ampoule_core::{Injection, InjectionError, InjectorSession, PodView, SecretInjector, SecretRequest};
use async_trait::async_trait;

/// A plugin that is not loaded.
pub(super) struct MissingPlugin {
    name: String,
    reason: Arc<str>,
}

struct MissingPluginSession(Arc<str>);

// === impl MissingPlugin ===

impl MissingPlugin {
    /// Creates the placeholder for a plugin that is not loaded for this reason.
    pub(super) fn new(name: &str, reason: &str) -> Self {
        Self { name: name.to_owned(), reason: reason.into() }
    }
}

impl SecretInjector for MissingPlugin {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self) -> Box<dyn InjectorSession> {
        Box::new(MissingPluginSession(Arc::clone(&self.reason)))
    }
}

// === impl MissingPluginSession ===

#[async_trait]
impl InjectorSession for MissingPluginSession {
    async fn inject(&mut self, _request: &SecretRequest, _pod: &PodView) -> Injection {
        Ok(Err(InjectionError::Unavailable(format!("the plugin is not loaded: {}", self.0))))
    }
}
