//! [`PluginInstance`]: one instance of a plugin, from its start to its last answer.
//!
//! Every step ends at the store's deadline: the epoch interrupts a guest that computes, and a timer
//! one that waits in the host. After a failure of any kind the instance is unusable and has to be
//! dropped.

use std::sync::Arc;

use ampoule_core::{InjectionError, LazyPodView, SecretRequest, SecretValue, ValueOrigin};
use tokio::time::{Instant, error::Elapsed, timeout_at};
use wasmtime::{Store, component::Resource};

use super::{
    failure::Failure,
    values::{FetchProblem, FetchedValue, ValueCache},
};
use crate::{
    contract::{
        info::{PluginInfo, clean_error},
        v0_2::exports::{PluginExports, PluginPre},
    },
    sandbox::{
        answer::{Plan, RequestAnswer},
        budgets::AdmissionBudgets,
        context::PluginContext,
        facts::Fact,
        fetch::PromiseAnswer,
        store::{GuestState, new_store},
    },
};

/// The handle of the pod, of the request and of the promise: there is one of each at a time.
const ONLY: u32 = 0;

/// An instance and its store.
pub(crate) struct PluginInstance {
    store: Store<GuestState>,
    exports: PluginExports,
    /// Whether it can be called again.
    is_usable: bool,
}

// === impl PluginInstance ===

impl PluginInstance {
    /// Creates an instance. Its log lines, calls and bytes count against `budgets`.
    pub(crate) async fn start(
        plugin: &Arc<PluginContext>,
        pre: &PluginPre,
        budgets: &AdmissionBudgets,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let mut store = new_store(pre.instance.engine(), plugin, budgets, deadline);
        let started = timeout_at(deadline, pre.instance.instantiate_async(&mut store)).await;
        let started = started.map_err(|_| Failure::Deadline)?;
        match started.and_then(|instance| pre.load(&mut store, instance)) {
            Ok(exports) => Ok(Self { store, exports, is_usable: true }),
            Err(error) => Err(Failure::from_start_error(&error, store.data())),
        }
    }

    /// Calls `describe`. The inner error is a description that does not follow the contract.
    pub(crate) async fn describe(&mut self) -> Result<Result<PluginInfo, String>, Failure> {
        let deadline = self.store.data().deadline;
        let call = self.exports.injector.call_describe(&mut self.store);
        let answer = timeout_at(deadline, call).await;
        Ok(PluginInfo::parse(&self.check(answer)?))
    }

    /// Calls `configure`. The inner error is the plugin's reason to reject its settings.
    pub(crate) async fn configure(&mut self, settings: &str) -> Result<Result<(), String>, Failure> {
        let deadline = self.store.data().deadline;
        let call = self.exports.injector.call_configure(&mut self.store, settings);
        let answer = timeout_at(deadline, call).await;
        Ok(self.check(answer)?.map_err(|reason| clean_error(&reason)))
    }

    /// Calls `check`, if the plugin exports it. The inner error is the problem that it reports.
    pub(crate) async fn check_configuration(&mut self, deadline: Instant) -> Result<Result<(), String>, Failure> {
        let Some(lifecycle) = &self.exports.lifecycle else { return Ok(Ok(())) };
        set_deadline(&mut self.store, deadline);
        let call = lifecycle.call_check(&mut self.store);
        let answer = timeout_at(deadline, call).await;
        Ok(self.check(answer)?.map_err(|reason| clean_error(&reason)))
    }

    /// Calls `inject`.
    pub(crate) async fn plan(
        &mut self,
        request: &SecretRequest,
        pod: &LazyPodView,
        deadline: Instant,
    ) -> Result<Plan, Failure> {
        set_deadline(&mut self.store, deadline);
        let state = self.store.data_mut();
        let answer = RequestAnswer::new(request.clone(), pod.clone(), &state.plugin.limits);
        state.start_request(answer);
        let (pod, request) = (Resource::new_borrow(ONLY), Resource::new_borrow(ONLY));
        let call = self.exports.injector.call_inject(&mut self.store, pod, request);
        let returned = timeout_at(deadline, call).await;
        self.check(returned)?;
        let answer = self.store.data_mut().answer.take();
        Ok(answer.map_or(Plan::Nothing, |answer| answer.finish()))
    }

    /// Takes what the guest learned for its last answer; `None` if the answer cannot be recorded.
    pub(crate) fn take_facts(&mut self) -> Option<Vec<Fact>> {
        self.store.data_mut().take_facts()
    }

    /// The value of a promise: from the host's memory, or fetched.
    pub(crate) async fn value(
        &mut self,
        values: Option<&ValueCache>,
        promise: &str,
        deadline: Instant,
    ) -> Result<(SecretValue, ValueOrigin), FetchProblem> {
        set_deadline(&mut self.store, deadline);
        let Some(values) = values else {
            return self.fetch(promise, deadline).await.map(|fetched| (fetched.value, ValueOrigin::Fetched));
        };
        let waiting = timeout_at(deadline, values.get(promise, self.fetch(promise, deadline))).await;
        waiting.unwrap_or(Err(FetchProblem::Failed(Failure::Deadline)))
    }

    /// Calls `fetch`. After a failure, the instance cannot be called again.
    pub(crate) async fn fetch(&mut self, promise: &str, deadline: Instant) -> Result<FetchedValue, FetchProblem> {
        // Until the call has ended: the caller can stop waiting for it.
        if !std::mem::replace(&mut self.is_usable, false) {
            return Err(FetchProblem::Failed(Failure::Deadline));
        }
        self.store.data().take_refused_login();
        let answer = self.call_fetch(promise, deadline).await.map_err(FetchProblem::Failed);
        self.is_usable = answer.is_ok();
        let fetched = answer.and_then(|answer| answer.map_err(FetchProblem::Declined));
        let is_refused = self.store.data().take_refused_login();
        fetched.map_err(|problem| if is_refused { problem.of_refused_login() } else { problem })
    }

    async fn call_fetch(
        &mut self,
        promise: &str,
        deadline: Instant,
    ) -> Result<Result<FetchedValue, InjectionError>, Failure> {
        let Some(fetcher) = &self.exports.fetcher else { return Err(Failure::NoFetcher) };
        let state = self.store.data_mut();
        // The guest may keep what it learns from the store.
        state.facts.spoil();
        state.promise = Some(PromiseAnswer::new(promise.to_owned()));
        let call = fetcher.call_fetch(&mut self.store, Resource::new_borrow(ONLY));
        let returned = timeout_at(deadline, call).await;
        self.check(returned)?;
        let answer = self.store.data_mut().promise.take().ok_or(Failure::NoAnswer)?;
        let expires_in = answer.expires_in;
        let value = answer.finish().ok_or(Failure::NoAnswer)?;
        Ok(value.map(|value| FetchedValue { value, expires_in }))
    }

    /// Starts the limit on the bytes of fetched values, for one request.
    pub(crate) fn start_values(&mut self) {
        self.store.data_mut().start_values();
    }

    /// Lets no later answer be recorded.
    pub(crate) fn spoil_facts(&mut self) {
        self.store.data_mut().facts.spoil();
    }

    /// Whether its next answer can be recorded.
    pub(crate) fn is_recordable(&self) -> bool {
        self.store.data().facts.is_complete()
    }

    /// Whether the instance can be called again.
    pub(crate) fn is_usable(&self) -> bool {
        self.is_usable
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

/// Lets the guest run until a new deadline.
fn set_deadline(store: &mut Store<GuestState>, deadline: Instant) {
    store.data_mut().deadline = deadline;
    store.set_epoch_deadline(1);
}
