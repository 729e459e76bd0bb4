//! The sweeper: gives the Secrets that carry values, and the ConfigMaps that carry components,
//! their pods as owners, and deletes those that no pod refers to.
//!
//! An admission uses a Secret before its pod exists, and other replicas do not write a Secret again
//! that they know ([`super::SecretDelivery`]). Therefore a Secret has owners only when every
//! replica would write it again, and it is deleted only after the grace period. Each change names
//! the version that it changes, so that a use in between prevents it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ampoule_config::DeliveryConfig;
use ampoule_core::GeneratedName;
use ampoule_telemetry::metrics::Metrics;
use k8s_openapi::{
    api::core::v1::{ConfigMap, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
    core::PartialObjectMeta,
};
use serde_json::json;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    LAST_USED, MANAGED_BY, SecretDelivery, WEBHOOK,
    lease::SweepLease,
    references::{CarrierKind, needed_by},
    scopes,
};
use crate::client::{Cluster, ClusterError};

/// Secrets of one response of the API server.
const PAGE: u32 = 500;
/// Pods of one response. A pod has up to 1.5 MiB.
const POD_PAGE: u32 = 32;
/// Secrets in one search of a namespace, or of all namespaces. The next search finds the rest.
const MOST_OBJECTS: usize = 100_000;
/// Bytes of a time stamp.
const MOST_STAMP: usize = 64;
/// Pods that own a Secret at most. A Secret of more pods has no owner, and only the sweeper deletes
/// it.
const MOST_OWNERS: usize = 20;
/// A Lease lasts for this number of intervals.
const LEASE_INTERVALS: u64 = 3;

/// Searches for unused Secrets, as soon as this process delivers values.
pub async fn run(delivery: Arc<SecretDelivery>, holder: String) {
    let mut reported = None;
    let mut sweeper = None;
    loop {
        sleep(delivery.config.sweep_interval).await;
        if !delivery.is_used() && !delivery.ships_components() {
            continue;
        }
        let problem = sweep(&mut sweeper, &delivery, &holder).await.err();
        delivery.metrics.delivery_sweep(problem.is_none());
        if let Some(error) = problem.as_ref().filter(|error| reported.as_ref() != Some(*error)) {
            warn!(error, "cannot search for unused objects");
        }
        reported = problem;
    }
}

/// Searches once, with a connection that stays for the next time.
async fn sweep(sweeper: &mut Option<Sweeper>, delivery: &SecretDelivery, holder: &str) -> Result<(), String> {
    if sweeper.is_none() {
        let cluster = delivery.cluster().await.map_err(|error| error.to_string())?;
        *sweeper = Some(Sweeper::new(cluster.clone(), delivery, holder.to_owned()));
    }
    match sweeper {
        Some(sweeper) => sweeper.sweep_if_leader(delivery).await.map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

/// The search, by one replica.
struct Sweeper {
    cluster: Cluster,
    config: DeliveryConfig,
    lease: SweepLease,
    metrics: Metrics,
}

/// What happens to a Secret.
#[derive(Debug, PartialEq)]
enum Treatment {
    Keep,
    Own(Vec<OwnerReference>),
    Delete,
}

/// The result of a search.
#[derive(Default)]
struct SweepResult {
    existing: usize,
    deleted: usize,
    /// The first problem.
    problem: Option<ClusterError>,
}

/// The pods that refer to a Secret, by namespace and name of the Secret.
type Users = BTreeMap<(String, String), Vec<OwnerReference>>;

// === impl Sweeper ===

impl Sweeper {
    /// `holder` identifies this replica.
    fn new(cluster: Cluster, delivery: &SecretDelivery, holder: String) -> Self {
        let config = delivery.config.clone();
        let lease = SweepLease::new(&cluster, holder, lease_seconds(&config));
        Self { cluster, config, lease, metrics: delivery.metrics.clone() }
    }

    async fn sweep_if_leader(&self, delivery: &SecretDelivery) -> Result<(), ClusterError> {
        if self.lease.acquire().await? { self.sweep(delivery).await } else { Ok(()) }
    }

    /// Searches once for what this process delivers: the role may permit nothing else.
    async fn sweep(&self, delivery: &SecretDelivery) -> Result<(), ClusterError> {
        let mut problem = None;
        if delivery.is_used() {
            let secrets = self.sweep_kind::<Secret>().await;
            self.metrics.delivery_secrets(secrets.existing);
            if secrets.deleted > 0 {
                self.metrics.delivery_swept(secrets.deleted);
            }
            problem = secrets.problem;
        }
        if delivery.ships_components() {
            problem = problem.or(self.sweep_kind::<ConfigMap>().await.problem);
        }
        problem.map_or(Ok(()), Err)
    }

    /// Searches the objects of a kind. A namespace that fails does not affect the others.
    async fn sweep_kind<K: CarrierKind>(&self) -> SweepResult {
        let mut found = SweepResult::default();
        let namespaces = &self.config.namespaces;
        let objects = scopes::<K>(&self.cluster, namespaces).into_iter();
        for (objects, pods) in objects.zip(scopes(&self.cluster, namespaces)) {
            if let Err(error) = self.sweep_scope(&objects, &pods, &mut found).await {
                found.problem.get_or_insert(error);
            }
        }
        if found.deleted > 0 {
            info!(deleted = found.deleted, kind = K::PLURAL, "deleted objects that no pod refers to");
        }
        found
    }

    async fn sweep_scope<K: CarrierKind>(
        &self,
        objects: &Api<K>,
        pods: &Api<Pod>,
        found: &mut SweepResult,
    ) -> Result<(), ClusterError> {
        let objects = self.list(objects).await?;
        found.existing += objects.len();
        if objects.is_empty() {
            return Ok(());
        }
        // After the objects: a pod that is created in between renewed the time stamp of its object.
        let users = users(pods, &objects).await?;
        let now = Timestamp::now();
        for object in &objects {
            let used_by = users.get(&identity(object)).map_or(&[][..], Vec::as_slice);
            let treated = match treatment(&object.metadata, used_by, &self.config, now) {
                Treatment::Keep => Ok(false),
                Treatment::Own(owners) => self.own(object, &owners).await.map(|()| false),
                Treatment::Delete => self.delete(object).await,
            };
            match treated {
                Ok(is_deleted) => found.deleted += usize::from(is_deleted),
                Err(error) => drop(found.problem.get_or_insert(error)),
            }
        }
        Ok(())
    }

    /// Lists the objects without their content.
    async fn list<K: CarrierKind>(&self, api: &Api<K>) -> Result<Vec<PartialObjectMeta<K>>, ClusterError> {
        let labels = format!("{}={},{WEBHOOK}={}", MANAGED_BY.0, MANAGED_BY.1, self.cluster.namespace());
        let mut found = Vec::new();
        let mut page = ListParams::default().labels(&labels).limit(PAGE);
        loop {
            let list = api.list_metadata(&page).await?;
            // A user who may create such objects can copy the labels.
            found.extend(list.items.into_iter().filter(is_generated).map(without_other_metadata));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) if found.len() < MOST_OBJECTS => page = page.continue_token(&token),
                _ => return Ok(found),
            }
        }
    }

    async fn own<K: CarrierKind>(
        &self,
        object: &PartialObjectMeta<K>,
        owners: &[OwnerReference],
    ) -> Result<(), ClusterError> {
        let (namespace, name) = identity(object);
        let metadata = &object.metadata;
        let patch = json!({ "metadata": {
            "ownerReferences": owners, "resourceVersion": metadata.resource_version, "uid": metadata.uid,
        } });
        let api: Api<K> = self.cluster.namespaced_in(&namespace);
        let patched = api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        is_current(patched.map(drop)).map(drop)
    }

    /// Whether the object was deleted, and not used in between.
    async fn delete<K: CarrierKind>(&self, object: &PartialObjectMeta<K>) -> Result<bool, ClusterError> {
        let (namespace, name) = identity(object);
        let metadata = &object.metadata;
        let preconditions =
            Preconditions { resource_version: metadata.resource_version.clone(), uid: metadata.uid.clone() };
        let api: Api<K> = self.cluster.namespaced_in(&namespace);
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        is_current(api.delete(&name, &params).await.map(drop))
    }
}

/// The time for which a replica has the Lease, in seconds.
pub(super) fn lease_seconds(config: &DeliveryConfig) -> i32 {
    i32::try_from(config.sweep_interval.as_secs() * LEASE_INTERVALS).unwrap_or(i32::MAX)
}

/// The pods that refer to the objects.
async fn users<K: CarrierKind>(api: &Api<Pod>, objects: &[PartialObjectMeta<K>]) -> Result<Users, ClusterError> {
    let names: BTreeSet<_> = objects.iter().map(identity).collect();
    let mut users = Users::new();
    let mut page = ListParams::default().limit(POD_PAGE);
    loop {
        let list = api.list(&page).await?;
        list.items.iter().for_each(|pod| add_users::<K>(&mut users, &names, pod));
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(users),
        }
    }
}

fn is_generated<K>(object: &PartialObjectMeta<K>) -> bool {
    object.metadata.name.as_deref().is_some_and(GeneratedName::is_valid)
}

/// Keeps only what the sweeper reads, so that many objects take little memory.
fn without_other_metadata<K>(mut object: PartialObjectMeta<K>) -> PartialObjectMeta<K> {
    let metadata = &mut object.metadata;
    (metadata.labels, metadata.managed_fields, metadata.finalizers) = (None, None, None);
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|key, value| key == LAST_USED && value.len() <= MOST_STAMP);
    }
    object
}

/// Whether a change met the version that it names.
fn is_current(result: Result<(), kube::Error>) -> Result<bool, ClusterError> {
    match result {
        Ok(()) => Ok(true),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn identity<K>(object: &PartialObjectMeta<K>) -> (String, String) {
    let metadata = &object.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn add_users<K: CarrierKind>(users: &mut Users, names: &BTreeSet<(String, String)>, pod: &Pod) {
    let metadata = &pod.metadata;
    let (Some(name), Some(uid)) = (&metadata.name, &metadata.uid) else { return };
    let namespace = metadata.namespace.clone().unwrap_or_default();
    for needed in needed_by::<K>(pod) {
        let identity = (namespace.clone(), needed.to_owned());
        if names.contains(&identity) {
            let owner = OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                name: name.clone(),
                uid: uid.clone(),
                ..OwnerReference::default()
            };
            users.entry(identity).or_default().push(owner);
        }
    }
}

/// Decides about a Secret, by the pods that refer to it and the time of its last use.
fn treatment(metadata: &ObjectMeta, used_by: &[OwnerReference], config: &DeliveryConfig, now: Timestamp) -> Treatment {
    let age = age(metadata, now);
    if used_by.is_empty() {
        return if age > config.grace { Treatment::Delete } else { Treatment::Keep };
    }
    // Every replica writes the Secret again at its next use, which removes the owners.
    let is_settled = age > config.grace / 4;
    let owners = if used_by.len() <= MOST_OWNERS { used_by.to_vec() } else { Vec::new() };
    let current = metadata.owner_references.as_deref().unwrap_or_default();
    if is_settled && !is_same(current, &owners) { Treatment::Own(owners) } else { Treatment::Keep }
}

/// The time since the last use. A Secret without a readable time stamp counts from its creation.
fn age(metadata: &ObjectMeta, now: Timestamp) -> Duration {
    let stamp = metadata.annotations.as_ref().and_then(|annotations| annotations.get(LAST_USED));
    let used = stamp.and_then(|stamp| stamp.parse::<Timestamp>().ok());
    let used = used.or_else(|| metadata.creation_timestamp.as_ref().map(|time| time.0));
    let age = used.map_or(SignedDuration::ZERO, |used| now.duration_since(used));
    age.try_into().unwrap_or_default()
}

fn is_same(current: &[OwnerReference], wanted: &[OwnerReference]) -> bool {
    let uids = |owners: &[OwnerReference]| owners.iter().map(|owner| owner.uid.clone()).collect::<BTreeSet<_>>();
    uids(current) == uids(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(uid: &str) -> OwnerReference {
        OwnerReference { uid: uid.to_owned(), name: uid.to_owned(), ..OwnerReference::default() }
    }

    #[test]
    fn a_secret_is_deleted_after_the_grace_and_owned_only_when_every_replica_writes_it_again() {
        let config = DeliveryConfig { grace: Duration::from_secs(3600), ..DeliveryConfig::default() };
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let many: Vec<_> = (0..=MOST_OWNERS).map(|i| owner(&i.to_string())).collect();
        let one = vec![owner("a")];
        for (minutes, owners, used_by, expected) in [
            (59, vec![], vec![], Treatment::Keep),
            (61, vec![], vec![], Treatment::Delete),
            (61, one.clone(), vec![], Treatment::Delete),
            (5, vec![], one.clone(), Treatment::Keep),
            (14, vec![], one.clone(), Treatment::Keep),
            (16, vec![], one.clone(), Treatment::Own(one.clone())),
            (61, vec![], one.clone(), Treatment::Own(one.clone())),
            (61, one.clone(), one.clone(), Treatment::Keep),
            (61, vec![owner("b")], one.clone(), Treatment::Own(one.clone())),
            (61, one.clone(), many.clone(), Treatment::Own(vec![])),
            (61, vec![], many, Treatment::Keep),
        ] {
            let used = now - SignedDuration::from_mins(minutes);
            let metadata = ObjectMeta {
                annotations: Some([(LAST_USED.to_owned(), used.to_string())].into()),
                owner_references: Some(owners.clone()),
                ..ObjectMeta::default()
            };
            assert_eq!(treatment(&metadata, &used_by, &config, now), expected, "{minutes} {owners:?} {used_by:?}");
        }
    }

    #[test]
    fn a_secret_without_a_time_stamp_counts_from_its_creation_and_else_is_young() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        for (stamp, expected) in
            [(Some("2026-11-29T11:59:00Z"), 60), (Some("not a time"), 0), (Some("2026-11-29T13:00:00Z"), 0), (None, 0)]
        {
            let annotations = stamp.map(|stamp| [(LAST_USED.to_owned(), stamp.to_owned())].into());
            let metadata = ObjectMeta { annotations, ..ObjectMeta::default() };
            assert_eq!(age(&metadata, now), Duration::from_secs(expected), "{stamp:?}");
        }
    }
}
