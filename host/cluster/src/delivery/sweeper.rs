//! The sweeper: gives the Secrets that carry values their pods as owners, and deletes those that no
//! pod refers to.
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
use ampoule_telemetry::metrics::Metrics;
use k8s_openapi::{
    api::core::v1::{Pod, Secret},
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

use super::{LAST_USED, MANAGED_BY, SecretDelivery, WEBHOOK, known_for, lease::SweepLease, references::secrets_of};
use crate::client::{Cluster, ClusterError};

/// Objects of one response of the API server.
const PAGE: u32 = 500;
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
        if !delivery.is_used() {
            continue;
        }
        let problem = sweep(&mut sweeper, &delivery, &holder).await.err();
        if let Some(error) = problem.as_ref().filter(|error| reported.as_ref() != Some(*error)) {
            warn!(error, "cannot search for unused Secrets");
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
        Some(sweeper) => sweeper.sweep_if_leader().await.map_err(|error| error.to_string()),
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

/// The pods that refer to a Secret, by namespace and name of the Secret.
type Users = BTreeMap<(String, String), Vec<OwnerReference>>;

// === impl Sweeper ===

impl Sweeper {
    /// `holder` identifies this replica.
    fn new(cluster: Cluster, delivery: &SecretDelivery, holder: String) -> Self {
        let config = delivery.config.clone();
        let seconds = i32::try_from(config.sweep_interval.as_secs() * LEASE_INTERVALS).unwrap_or(i32::MAX);
        let lease = SweepLease::new(&cluster, holder, seconds);
        Self { cluster, config, lease, metrics: delivery.metrics.clone() }
    }

    async fn sweep_if_leader(&self) -> Result<(), ClusterError> {
        if self.lease.acquire().await? { self.sweep().await } else { Ok(()) }
    }

    /// Searches once.
    async fn sweep(&self) -> Result<(), ClusterError> {
        let secrets = self.secrets().await?;
        self.metrics.delivery_secrets(secrets.len());
        if secrets.is_empty() {
            return Ok(());
        }
        // After the Secrets: a pod that is created in between renewed the time stamp of its Secret.
        let users = self.users(&secrets).await?;
        let now = Timestamp::now();
        let mut deleted = 0;
        for secret in &secrets {
            let used_by = users.get(&identity(secret)).map_or(&[][..], Vec::as_slice);
            match treatment(&secret.metadata, used_by, &self.config, now) {
                Treatment::Keep => {}
                Treatment::Own(owners) => self.own(secret, &owners).await?,
                Treatment::Delete => deleted += usize::from(self.delete(secret).await?),
            }
        }
        if deleted > 0 {
            self.metrics.delivery_swept(deleted);
            info!(deleted, "deleted Secrets that no pod refers to");
        }
        Ok(())
    }

    /// Lists the Secrets without their values.
    async fn secrets(&self) -> Result<Vec<PartialObjectMeta<Secret>>, ClusterError> {
        let labels = format!("{}={},{WEBHOOK}={}", MANAGED_BY.0, MANAGED_BY.1, self.cluster.namespace());
        let mut found = Vec::new();
        for api in self.scopes::<Secret>() {
            let mut page = ListParams::default().labels(&labels).limit(PAGE);
            loop {
                let list = api.list_metadata(&page).await?;
                found.extend(list.items);
                match list.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => page = page.continue_token(&token),
                    None => break,
                }
            }
        }
        Ok(found)
    }

    async fn users(&self, secrets: &[PartialObjectMeta<Secret>]) -> Result<Users, ClusterError> {
        let names: BTreeSet<_> = secrets.iter().map(identity).collect();
        let mut users = Users::new();
        for api in self.scopes::<Pod>() {
            let mut page = ListParams::default().limit(PAGE);
            loop {
                let list = api.list(&page).await?;
                list.items.iter().for_each(|pod| add_users(&mut users, &names, pod));
                match list.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => page = page.continue_token(&token),
                    None => break,
                }
            }
        }
        Ok(users)
    }

    fn scopes<K>(&self) -> Vec<Api<K>>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        if self.config.namespaces.is_empty() {
            return vec![self.cluster.in_every_namespace()];
        }
        self.config.namespaces.iter().map(|namespace| self.cluster.namespaced_in(namespace)).collect()
    }

    async fn own(&self, secret: &PartialObjectMeta<Secret>, owners: &[OwnerReference]) -> Result<(), ClusterError> {
        let (namespace, name) = identity(secret);
        let metadata = &secret.metadata;
        let patch = json!({ "metadata": {
            "ownerReferences": owners, "resourceVersion": metadata.resource_version, "uid": metadata.uid,
        } });
        let api: Api<Secret> = self.cluster.namespaced_in(&namespace);
        let patched = api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        is_current(patched.map(drop)).map(drop)
    }

    /// Whether the Secret was deleted, and not used in between.
    async fn delete(&self, secret: &PartialObjectMeta<Secret>) -> Result<bool, ClusterError> {
        let (namespace, name) = identity(secret);
        let metadata = &secret.metadata;
        let preconditions =
            Preconditions { resource_version: metadata.resource_version.clone(), uid: metadata.uid.clone() };
        let api: Api<Secret> = self.cluster.namespaced_in(&namespace);
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        is_current(api.delete(&name, &params).await.map(drop))
    }
}

/// Whether a change met the version that it names.
fn is_current(result: Result<(), kube::Error>) -> Result<bool, ClusterError> {
    match result {
        Ok(()) => Ok(true),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn identity(secret: &PartialObjectMeta<Secret>) -> (String, String) {
    let metadata = &secret.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn add_users(users: &mut Users, names: &BTreeSet<(String, String)>, pod: &Pod) {
    let metadata = &pod.metadata;
    let (Some(name), Some(uid)) = (&metadata.name, &metadata.uid) else { return };
    let namespace = metadata.namespace.clone().unwrap_or_default();
    for secret in secrets_of(pod) {
        let identity = (namespace.clone(), secret.to_owned());
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
    let is_settled = age > known_for(config) + config.grace / 12;
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
