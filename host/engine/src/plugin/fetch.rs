//! [`PluginInjector::fetch`]: the value of a promise, outside any admission.
//!
//! The program in a pod uses it: the webhook planned there, and the pod fetches.

use std::time::Duration;

use ampoule_core::{InjectionError, InjectorFailure};
use tokio::time::Instant;

use super::{
    caller::start_instance,
    failure::PluginIdentity,
    injector::PluginInjector,
    permits::InstancePermit,
    values::{FetchProblem, FetchedValue},
};
use crate::sandbox::budgets::AdmissionBudgets;

/// Why a promise has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchFailure {
    /// The plugin gives this reason.
    Declined(InjectionError),
    /// The login for the plugin was refused or is not set up, after which the plugin gave this
    /// reason.
    LoginRefused(InjectionError),
    /// The plugin failed.
    Failed(InjectorFailure),
}

impl PluginInjector {
    /// Fetches the value of a promise that the same component made, with the same settings. Each
    /// call has its own instance and its own limits, and ends after the plugin's deadline.
    ///
    /// # Errors
    ///
    /// The plugin failed, or gives no value.
    pub async fn fetch(&self, promise: &str) -> Result<FetchedValue, FetchFailure> {
        let plugin = self.prepared();
        let limits = &plugin.context.limits;
        match self.call_fetcher(promise, limits.deadline).await {
            Ok(value) => Ok(value),
            Err(FetchProblem::Declined(reason)) => Err(FetchFailure::Declined(reason)),
            Err(FetchProblem::LoginRefused(reason)) => Err(FetchFailure::LoginRefused(reason)),
            Err(FetchProblem::Failed(failure)) => {
                let identity = PluginIdentity { name: &plugin.context.name, version: &plugin.info.version };
                Err(FetchFailure::Failed(failure.into_injector_failure(&identity, limits)))
            }
        }
    }

    async fn call_fetcher(&self, promise: &str, deadline: Duration) -> Result<FetchedValue, FetchProblem> {
        let plugin = self.prepared();
        // Dropped last: the instance must end before its permit.
        let _permit = InstancePermit::acquire(plugin).await.map_err(FetchProblem::Failed)?;
        let _ticking = plugin.runtime.ticker.hold();
        let deadline = Instant::now() + deadline;
        let budgets = AdmissionBudgets::new(&plugin.context);
        let started = start_instance(plugin, &budgets, deadline).await;
        let mut instance = started.map_err(FetchProblem::Failed)?;
        instance.fetch(promise, deadline).await
    }
}
