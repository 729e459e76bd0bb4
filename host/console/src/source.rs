//! [`ConsoleSource`]: the state of the process, and its pipeline for dry runs.
//!
//! The process implements it, so that this crate does not depend on engine and configuration.

use std::sync::Arc;

use ampoule_core::{AdmissionMemory, AdmissionOutcome, Admitted, Pod, Refusal, RequestReport, Requester};
use async_trait::async_trait;
use serde_json::Value;

use crate::views::{OverviewView, PluginView, PolicyView};

/// The state of the process. No answer has a value of a secret.
#[async_trait]
pub trait ConsoleSource: Send + Sync {
    /// The state of the process.
    fn overview(&self) -> OverviewView;

    /// The plugins of the chain in their order, followed by those that are not in the chain.
    fn plugins(&self) -> Vec<PluginView>;

    /// The configuration in effect, without the settings of plugins.
    fn configuration(&self) -> Value;

    /// The policy rules and the shadow injectors, with their counters.
    fn policy(&self) -> PolicyView;

    /// The memory for one dry run. It is empty at first.
    fn memory(&self) -> Arc<dyn AdmissionMemory>;

    /// Decides a pod as if this requester created it. Writes nothing.
    async fn try_pod(
        &self,
        pod: Pod,
        namespace: &str,
        requester: Requester,
        memory: Arc<dyn AdmissionMemory>,
    ) -> DryRunResult;
}

/// The decision about a pod that is not created.
#[derive(Clone, Debug)]
pub struct DryRunResult {
    /// The label of the result.
    pub outcome: AdmissionOutcome,
    /// The changes, or the refusal.
    pub decision: Result<Admitted, Refusal>,
    /// The requested secrets, up to the first that failed, and the injectors called for each.
    pub requests: Vec<RequestReport>,
}
