//! One instance of a plugin, from its start to its last answer.
//!
//! Every step ends by the store's deadline: the epoch interrupts a guest that computes, the timer one that waits in the
//! host. After a failure of any kind the instance is of no more use and has to be dropped.

use std::{sync::Arc, time::Duration};

use ampoule_core::{InjectionError, PodEdit, PodView, SecretRequest};
use tokio::time::{Instant, timeout_at};
use wasmtime::Store;

use crate::{
    context::PluginContext,
    contract::{Plugin, PluginPre, ampoule::injector::types::Conventions},
    convert,
    failure::Failure,
    load::PluginInfo,
    outbound::OutboundBudget,
    store::{PluginState, new_store},
    text::clean,
};

/// What `configure` is called with.
pub(crate) struct PluginSettings {
    pub(crate) json: String,
    pub(crate) conventions: Conventions,
}

/// An instance and its store.
pub(crate) struct Running {
    store: Store<PluginState>,
    plugin: Plugin,
}

// === impl Running ===

impl Running {
    /// A fresh instance, which may still ask and move `outbound`.
    pub(crate) async fn start(
        plugin: &Arc<PluginContext>,
        pre: &PluginPre<PluginState>,
        outbound: &Arc<OutboundBudget>,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let mut store = new_store(plugin, outbound, deadline);
        match timeout_at(deadline, pre.instantiate_async(&mut store)).await {
            Ok(Ok(plugin)) => Ok(Self { store, plugin }),
            Ok(Err(error)) => Err(Failure::of_start(&error, store.data())),
            Err(_) => Err(Failure::Deadline),
        }
    }

    pub(crate) async fn describe(&mut self) -> Result<PluginInfo, Failure> {
        let Self { store, plugin } = self;
        let deadline = store.data().deadline;
        let answer = timeout_at(deadline, plugin.ampoule_injector_injector().call_describe(&mut *store)).await;
        settle(answer, store).map(convert::plugin_info)
    }

    /// Whether the plugin takes its settings, and if not, what it says about them.
    pub(crate) async fn configure(&mut self, settings: &PluginSettings) -> Result<Result<(), String>, Failure> {
        let Self { store, plugin } = self;
        let PluginSettings { json, conventions } = settings;
        let deadline = store.data().deadline;
        let call = plugin.ampoule_injector_injector().call_configure(&mut *store, json, conventions);
        let answer = settle(timeout_at(deadline, call).await, store)?;
        Ok(answer.map_err(|reason| clean(&reason, convert::MAX_ERROR)))
    }

    /// The plugin's answer, to be given by `deadline`.
    pub(crate) async fn inject(
        &mut self,
        request: &SecretRequest,
        pod: &PodView,
        deadline: Instant,
    ) -> Result<Result<Vec<PodEdit>, InjectionError>, Failure> {
        let Self { store, plugin } = self;
        store.data_mut().deadline = deadline;
        store.set_epoch_deadline(1);
        let (request, pod) = (convert::request(request), convert::pod(pod));
        let call = plugin.ampoule_injector_injector().call_inject(&mut *store, &request, &pod);
        match settle(timeout_at(deadline, call).await, store)? {
            Ok(edits) => convert::edits(edits, &store.data().plugin.limits).map(Ok).map_err(Failure::Exceeded),
            Err(error) => Ok(Err(convert::injection_error(error))),
        }
    }

    /// How long the guest has been in the host so far.
    pub(crate) fn host_time(&self) -> Duration {
        self.store.data().host_time()
    }

    /// The linear memory of the instance, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().memory()
    }
}

fn settle<T>(
    answer: Result<wasmtime::Result<T>, tokio::time::error::Elapsed>,
    store: &Store<PluginState>,
) -> Result<T, Failure> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Failure::of_call(&error, store.data())),
        Err(_) => Err(Failure::Deadline),
    }
}
