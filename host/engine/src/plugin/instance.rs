//! [`PluginInstance`]: one instance of a plugin, from its start to its last answer.
//!
//! Every step ends at the store's deadline: the epoch interrupts a guest that computes, and a timer
//! one that waits in the host. After a failure of any kind the instance is unusable and has to be
//! dropped.

use std::{sync::Arc, time::Duration};

use ampoule_core::{InjectionError, PodEdit, PodView, SecretRequest};
use tokio::time::{Instant, error::Elapsed, timeout_at};
use wasmtime::Store;

use super::failure::Failure;
use crate::{
    contract::{
        info::PluginInfo,
        v0_1::{
            bindings::{Plugin, PluginPre, ampoule::injector::types::Conventions},
            conversion::{self, edits::convert_edits},
        },
    },
    sandbox::{
        budgets::AdmissionBudgets,
        context::PluginContext,
        store::{GuestState, new_store},
    },
};

/// The arguments of `configure`.
pub(crate) struct PluginSettings {
    pub(crate) json: String,
    pub(crate) conventions: Conventions,
}

/// An instance and its store.
pub(crate) struct PluginInstance {
    store: Store<GuestState>,
    exports: Plugin,
}

// === impl PluginInstance ===

impl PluginInstance {
    /// Creates an instance. Its log lines, outbound calls and bytes count against `budgets`.
    pub(crate) async fn start(
        plugin: &Arc<PluginContext>,
        pre: &PluginPre<GuestState>,
        budgets: &AdmissionBudgets,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let mut store = new_store(pre.engine(), plugin, budgets, deadline);
        match timeout_at(deadline, pre.instantiate_async(&mut store)).await {
            Ok(Ok(exports)) => Ok(Self { store, exports }),
            Ok(Err(error)) => Err(Failure::from_start_error(&error, store.data())),
            Err(_) => Err(Failure::Deadline),
        }
    }

    /// Calls `describe`.
    pub(crate) async fn describe(&mut self) -> Result<PluginInfo, Failure> {
        let deadline = self.store.data().deadline;
        let call = self.exports.ampoule_injector_injector().call_describe(&mut self.store);
        let answer = timeout_at(deadline, call).await;
        self.check(answer).map(conversion::from_wit_info)
    }

    /// Calls `configure`. The inner error is the plugin's reason to reject its settings.
    pub(crate) async fn configure(&mut self, settings: &PluginSettings) -> Result<Result<(), String>, Failure> {
        let deadline = self.store.data().deadline;
        let injector = self.exports.ampoule_injector_injector();
        let call = injector.call_configure(&mut self.store, &settings.json, &settings.conventions);
        let answer = timeout_at(deadline, call).await;
        Ok(self.check(answer)?.map_err(|reason| conversion::clean_error(&reason)))
    }

    /// Calls `inject`, which has to answer by `deadline`.
    pub(crate) async fn inject(
        &mut self,
        request: &SecretRequest,
        pod: &PodView,
        deadline: Instant,
    ) -> Result<Result<Vec<PodEdit>, InjectionError>, Failure> {
        self.store.data_mut().deadline = deadline;
        self.store.set_epoch_deadline(1);
        let request = conversion::to_wit_request(request);
        let pod = conversion::to_wit_pod(pod);
        let call = self.exports.ampoule_injector_injector().call_inject(&mut self.store, &request, &pod);
        let answer = timeout_at(deadline, call).await;
        match self.check(answer)? {
            Ok(edits) => {
                let edits = convert_edits(edits, &self.store.data().plugin.limits);
                edits.map(Ok).map_err(Failure::Exceeded)
            }
            Err(error) => Ok(Err(conversion::from_wit_error(error))),
        }
    }

    /// The time that the guest has spent in the host so far.
    pub(crate) fn host_time(&self) -> Duration {
        self.store.data().host_time()
    }

    /// The size of its linear memory in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().memory()
    }

    /// Converts the error of a call.
    fn check<T>(&self, answer: Result<wasmtime::Result<T>, Elapsed>) -> Result<T, Failure> {
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failure::from_call_error(&error, self.store.data())),
            Err(_) => Err(Failure::Deadline),
        }
    }
}
