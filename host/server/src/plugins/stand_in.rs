//! What stands in the chain where an optional plugin should: [`StandIn`].
//!
//! A pod whose secret somebody else has does not notice. Another is refused, and told which plugin is missing and why.

use std::sync::Arc;

use ampoule_core::{Injection, InjectionError, InjectorSession, PodView, SecretInjector, SecretRequest};
use async_trait::async_trait;

/// A plugin that is not there.
pub(super) struct StandIn {
    name: String,
    reason: Arc<str>,
}

struct Session(Arc<str>);

// === impl StandIn ===

impl StandIn {
    /// For the plugin of this name, which is not loaded for this reason.
    pub(super) fn new(name: &str, reason: &str) -> Self {
        Self { name: name.to_owned(), reason: reason.into() }
    }
}

impl SecretInjector for StandIn {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self) -> Box<dyn InjectorSession> {
        Box::new(Session(Arc::clone(&self.reason)))
    }
}

// === impl Session ===

#[async_trait]
impl InjectorSession for Session {
    async fn inject(&mut self, _request: &SecretRequest, _pod: &PodView) -> Injection {
        Ok(Err(InjectionError::Unavailable(format!("the plugin is not loaded: {}", self.0))))
    }
}
