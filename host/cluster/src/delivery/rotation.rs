//! The search for pods whose values changed in the store since, and the restart of their workloads.
//!
//! The annotation `ampoule.dev/versions` of a pod names the promises of its values and their
//! versions at its admission. One replica fetches each promise again, compares the versions, and
//! counts the pods. A restart waits until the store gave the same version twice and no replica
//! serves an earlier value from its cache, so that a value that differs at each fetch restarts
//! nothing. A pod that fetches its values itself has no versions: its sidecar compares the values,
//! and reports a change in the status of the pod.

mod known_versions;
mod pods;
mod reports;
mod workloads;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ampoule_config::RotationConfig;
use ampoule_core::{CurrentValues, NamingKey, PromiseOf};
use ampoule_telemetry::metrics::{Metrics, RotationPods};
use futures_util::{StreamExt as _, stream};
use k8s_openapi::jiff::Timestamp;
use tokio::time::{sleep, timeout};
use tracing::warn;

use self::{
    known_versions::{KnownVersions, PodState},
    pods::{ReportedState, TrackedPod},
    workloads::{Rollouts, StalePods},
};
use super::{SecretDelivery, lease::SweepLease, scopes, sweeper::lease_seconds};
use crate::client::{Cluster, ClusterError};

/// Promises that one search fetches. Pods with others count as unknown.
const MOST_PROMISES: usize = 20_000;
/// Promises of the pods of one namespace: its users cannot take the fetches of the others.
const MOST_OF_NAMESPACE: usize = 2_000;
/// Fetches at the same time. They share the instances of a plugin with admissions.
const CONCURRENT: usize = 4;

/// Searches for pods with old values at each interval, as soon as this process delivers values.
pub async fn run(
    delivery: Arc<SecretDelivery>,
    config: RotationConfig,
    values: Arc<dyn CurrentValues>,
    holder: String,
) {
    let mut search = None;
    let mut reported = None;
    loop {
        sleep(config.interval).await;
        if !delivery.is_used() && !delivery.reads_reports() {
            continue;
        }
        let problem = search_once(&mut search, &delivery, (&config, &values, &holder)).await.err();
        delivery.metrics.rotation_search(problem.is_none());
        if let Some(error) = problem.as_ref().filter(|error| reported.as_ref() != Some(*error)) {
            warn!(error, "cannot search for pods with old values");
        }
        reported = problem;
    }
}

/// Searches once, and keeps what the next search needs.
async fn search_once(
    search: &mut Option<RotationSearch>,
    delivery: &SecretDelivery,
    (config, values, holder): (&RotationConfig, &Arc<dyn CurrentValues>, &str),
) -> Result<(), String> {
    if search.is_none() {
        let cluster = delivery.cluster().await.map_err(|error| error.to_string())?.clone();
        let key = delivery.key(false).await.map_err(|error| error.to_string())?;
        let seconds = claim_seconds(delivery, config);
        *search = Some(RotationSearch {
            lease: SweepLease::new(&cluster, holder.to_owned(), seconds),
            rollouts: Rollouts::new(cluster.clone(), config.rollout.clone(), delivery.metrics.clone()),
            namespaces: delivery.config.namespaces.clone(),
            metrics: delivery.metrics.clone(),
            values: Arc::clone(values),
            known: KnownVersions::default(),
            cluster,
            key,
        });
    }
    let Some(search) = search else { return Ok(()) };
    match timeout(most_time(config), search.run()).await {
        Ok(searched) => searched.map_err(|error| error.to_string()),
        Err(_) => Err("the search did not end in time; a store answers slowly, or there are too many pods".to_owned()),
    }
}

/// The time of a claim of the Lease. The sweeper renews it; without a sweeper, it lasts until after
/// the next search.
fn claim_seconds(delivery: &SecretDelivery, config: &RotationConfig) -> i32 {
    let seconds = lease_seconds(&delivery.config);
    if delivery.is_used() || delivery.ships_components() {
        return seconds;
    }
    seconds.max(i32::try_from(config.interval.as_secs() * 2).unwrap_or(i32::MAX))
}

/// Limit of one search.
fn most_time(config: &RotationConfig) -> Duration {
    config.interval.max(Duration::from_secs(3600))
}

/// What one replica knows from search to search.
struct RotationSearch {
    cluster: Cluster,
    namespaces: Vec<String>,
    lease: SweepLease,
    key: NamingKey,
    values: Arc<dyn CurrentValues>,
    known: KnownVersions,
    rollouts: Rollouts,
    metrics: Metrics,
}

// === impl RotationSearch ===

impl RotationSearch {
    async fn run(&mut self) -> Result<(), ClusterError> {
        if !self.lease.acquire().await? {
            // Another replica counts them.
            self.known = KnownVersions::default();
            self.metrics.rotation_pods(RotationPods::default());
            return Ok(());
        }
        let mut pods = self.pods().await?;
        reports::read(&self.cluster, &mut pods).await?;
        self.fetch(&pods).await;
        let stale = self.count(&pods, Timestamp::now());
        self.rollouts.restart(stale, &self.key).await
    }

    /// The running pods with versions, and those that report changes.
    async fn pods(&self) -> Result<Vec<TrackedPod>, ClusterError> {
        let mut found = Vec::new();
        for api in scopes(&self.cluster, &self.namespaces) {
            pods::list(&api, &self.key, &mut found).await?;
        }
        Ok(found)
    }

    /// Fetches the promises of these pods, each once.
    async fn fetch(&mut self, pods: &[TrackedPod]) {
        let promises = promises(pods);
        self.known.retain(&promises);
        let owned = promises.into_iter().cloned();
        let fetches = owned.map(|promise| fetch_version(Arc::clone(&self.values), self.key.clone(), promise));
        let fetched: Vec<_> = stream::iter(fetches).buffer_unordered(CONCURRENT).collect().await;
        let now = Timestamp::now();
        for (promise, current) in fetched {
            self.known.see(&promise, current, now);
        }
    }

    /// Reports the pods by their state, and returns those to replace, by their controller.
    fn count(&self, pods: &[TrackedPod], now: Timestamp) -> Vec<StalePods> {
        let mut counts = RotationPods::default();
        let mut stale: BTreeMap<_, StalePods> = BTreeMap::new();
        for pod in pods {
            let has_report = pod.reported == Some(ReportedState::Old);
            let settled = match self.known.state(&pod.versions, now) {
                PodState::Old { settled } => settled,
                _ if has_report => None,
                PodState::Current if pod.reported != Some(ReportedState::Unknown) => {
                    counts.current += 1;
                    continue;
                }
                PodState::Current | PodState::Unknown => {
                    counts.unknown += 1;
                    continue;
                }
            };
            counts.old += 1;
            let Some(controller) = pod.controller.as_ref().filter(|_| settled.is_some() || has_report) else {
                continue;
            };
            let identity = (&pod.namespace, &controller.kind, &controller.name, &controller.uid);
            let pods = stale.entry(identity).or_insert_with(|| StalePods::of(pod, controller));
            pods.add(pod, settled.unwrap_or_default(), has_report);
        }
        self.metrics.rotation_pods(counts);
        stale.into_values().collect()
    }
}

/// Fetches a promise, and returns the version of its value and its `settles_in`.
async fn fetch_version(
    values: Arc<dyn CurrentValues>,
    key: NamingKey,
    promise: PromiseOf,
) -> (PromiseOf, Option<(String, Duration)>) {
    let current = values.fetch(&promise).await;
    let version = current.map(|current| (key.version(&promise, &current.value), current.settles_in));
    (promise, version)
}

/// The promises to fetch, within the limits.
fn promises(pods: &[TrackedPod]) -> BTreeSet<&PromiseOf> {
    let mut promises = BTreeSet::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in pods {
        let count = counts.entry(&pod.namespace).or_default();
        for (promise, _) in pod.versions.iter() {
            if promises.len() < MOST_PROMISES && *count < MOST_OF_NAMESPACE && promises.insert(promise) {
                *count += 1;
            }
        }
    }
    promises
}
