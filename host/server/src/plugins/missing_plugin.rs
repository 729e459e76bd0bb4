//! The placeholder in the chain for a plugin that is not loaded: [`MissingPlugin`].
//!
//! A pod whose secrets come from other plugins is not affected. A pod that needs this plugin is
//! refused with the plugin's name. The reason is for the admin: it may contain paths, hosts and
//! hashes, and pod authors must not learn from it.

use ampoule_core::{Injection, InjectionError, InjectorSession, LazyPodView, SecretInjector, SecretRequest};
use async_trait::async_trait;

/// A plugin that is not loaded.
pub(super) struct MissingPlugin {
    name: String,
    is_loading: bool,
}

struct MissingPluginSession(String);

// === impl MissingPlugin ===

impl MissingPlugin {
    /// Creates the placeholder. `is_loading` if the plugin was not tried yet.
    pub(super) fn new(name: &str, is_loading: bool) -> Self {
        Self { name: name.to_owned(), is_loading }
    }

    fn message(&self) -> String {
        let yet = if self.is_loading { " yet" } else { "" };
        format!("plugin {} is not loaded{yet}", self.name)
    }
}

impl SecretInjector for MissingPlugin {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self) -> Box<dyn InjectorSession> {
        Box::new(MissingPluginSession(self.message()))
    }
}

// === impl MissingPluginSession ===

#[async_trait]
impl InjectorSession for MissingPluginSession {
    async fn inject(&mut self, _request: &SecretRequest, _pod: &LazyPodView) -> Injection {
        Ok(Err(InjectionError::Unavailable(self.0.clone().into())))
    }
}
