//! [`Rollouts`]: restarts the workloads of pods with old values, like `kubectl rollout restart`: by
//! an annotation of the pod template.
//!
//! The annotation's value is a digest of the new versions. The same versions restart a workload
//! once, also if another program or an operator removes the annotation. For changes that pods
//! report, another annotation has a time: the pods that were created until then are being replaced,
//! so only a later pod can cause the next restart.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use ampoule_config::RolloutConfig;
use ampoule_core::{NamingKey, PodVersions, REPLACED_UNTIL_ANNOTATION, RESTARTED_FOR_ANNOTATION};
use ampoule_telemetry::metrics::{Metrics, RolloutResult};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Resource,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::{info, warn};

use super::pods::{TrackedPod, controller_of};
use crate::client::{Cluster, ClusterError};

/// Controllers that one search looks up. The next search finds the rest.
const MOST_LOOKUPS: usize = 1000;
/// Workloads of which this process knows that it restarted them.
const MOST_REMEMBERED: usize = 10_000;
/// A restart replaces the pods until this time before it. The clock of the API server, which states
/// when a pod was created, can be behind that of this process; a pod after the restart must count.
const SKEW: SignedDuration = SignedDuration::from_mins(1);
/// The API group of workloads.
const APPS: &str = "apps/v1";

/// The pods of one controller that have old values.
pub(super) struct StalePods {
    namespace: String,
    controller: OwnerReference,
    oldest: Timestamp,
    /// The versions that new pods will get.
    current: PodVersions,
    /// When the pods that report changes were created.
    reporting: Vec<Timestamp>,
}

/// Why a workload is restarted.
#[derive(Debug, Default)]
struct RestartReason {
    /// The versions that new pods will get.
    current: PodVersions,
    /// When the last pod that reports changes was created.
    reporting: Option<Timestamp>,
}

/// What a restart was for.
#[derive(Clone, Debug, Default)]
struct LastRestart {
    /// The digest of the versions, if there were any.
    digest: Option<String>,
    /// The pods that were created until this time are being replaced.
    until: Option<Timestamp>,
}

/// Restarts workloads.
pub(super) struct Rollouts {
    cluster: Cluster,
    config: RolloutConfig,
    metrics: Metrics,
    /// The restarts by this process.
    restarted: HashMap<Workload, LastRestart>,
}

/// A workload that can be restarted. A pod states its name and its UID, which need not match.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Workload {
    namespace: String,
    name: String,
    uid: String,
    kind: WorkloadKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum WorkloadKind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

/// What happened to a workload.
enum Restart {
    /// It is being restarted.
    Started,
    /// It was restarted for these versions before, or another object controls it.
    Unneeded,
}

/// A kind of workloads with a pod template.
trait Templated:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + fmt::Debug + DeserializeOwned
{
    fn template(&self) -> &PodTemplateSpec;
}

// === impl StalePods ===

impl StalePods {
    pub(super) fn of(pod: &TrackedPod, controller: &OwnerReference) -> Self {
        Self {
            namespace: pod.namespace.clone(),
            controller: controller.clone(),
            oldest: pod.created,
            current: PodVersions::default(),
            reporting: Vec::new(),
        }
    }

    /// Adds a pod, the current versions of its values, and whether it reports changes.
    pub(super) fn add(&mut self, pod: &TrackedPod, current: PodVersions, has_report: bool) {
        self.oldest = self.oldest.min(pod.created);
        self.current.extend(current);
        self.reporting.extend(has_report.then_some(pod.created));
    }

    /// Why the workload is to be restarted, by pods of this age. `None` without a reason. A report
    /// counts only if its own pod has the age: its author cannot restart the workload more often.
    fn reason(&self, now: Timestamp, min_age: SignedDuration) -> Option<RestartReason> {
        let is_old = |created: &Timestamp| now.duration_since(*created) >= min_age;
        let reporting = self.reporting.iter().copied().filter(is_old).max();
        let has_reason = is_old(&self.oldest) && (reporting.is_some() || !self.current.is_empty());
        has_reason.then(|| RestartReason { current: self.current.clone(), reporting })
    }
}

// === impl RestartReason ===

impl RestartReason {
    fn merge(&mut self, other: Self) {
        self.current.extend(other.current);
        self.reporting = self.reporting.max(other.reporting);
    }

    /// The restart at this time for this reason.
    fn restart(&self, key: &NamingKey, now: Timestamp) -> LastRestart {
        let digest = (!self.current.is_empty()).then(|| self.current.digest(key));
        LastRestart { digest, until: self.reporting.max(now.checked_sub(SKEW).ok()) }
    }
}

// === impl LastRestart ===

impl LastRestart {
    /// The restart that the annotations of a pod template name.
    fn of<K: Templated>(workload: &K) -> Self {
        let annotations = workload.template().metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
        let annotation = |key| annotations.and_then(|annotations| annotations.get(key));
        let until = annotation(REPLACED_UNTIL_ANNOTATION).and_then(|time| time.parse().ok());
        Self { digest: annotation(RESTARTED_FOR_ANNOTATION).cloned(), until }
    }

    /// Whether it was for the same reason as the next one.
    fn covers(&self, next: &Self, reason: &RestartReason) -> bool {
        let is_replaced = |created: Timestamp| self.until.is_some_and(|until| created <= until);
        (next.digest.is_none() || next.digest == self.digest) && reason.reporting.is_none_or(is_replaced)
    }
}

// === impl Rollouts ===

impl Rollouts {
    pub(super) fn new(cluster: Cluster, config: RolloutConfig, metrics: Metrics) -> Self {
        Self { cluster, config, metrics, restarted: HashMap::new() }
    }

    /// Restarts workloads with old pods, the ones with the oldest pods first. A workload that fails
    /// does not affect the others.
    pub(super) async fn restart(&mut self, mut stale: Vec<StalePods>, key: &NamingKey) -> Result<(), ClusterError> {
        if !self.config.enabled {
            return Ok(());
        }
        let now = Timestamp::now();
        let min_age = SignedDuration::try_from(self.config.min_pod_age).unwrap_or(SignedDuration::MAX);
        stale.sort_by_key(|pods| pods.oldest);
        let reasons = stale.into_iter().filter_map(|pods| Some((pods.reason(now, min_age)?, pods)));
        let (mut restarted, mut problem) = (0, None);
        for (workload, reason) in self.workloads(reasons.collect(), &mut problem).await {
            if restarted >= self.config.workloads_per_interval {
                break;
            }
            match self.restart_for(&workload, &reason, reason.restart(key, now)).await {
                Ok(Restart::Started) => restarted += 1,
                Ok(Restart::Unneeded) => {}
                Err(error) => {
                    self.report(&workload, &error);
                    problem.get_or_insert(error);
                }
            }
        }
        problem.map_or(Ok(()), Err)
    }

    /// The workloads of these pods, in their order. The pods of two ReplicaSets of one Deployment
    /// have one workload.
    async fn workloads(
        &self,
        stale: Vec<(RestartReason, StalePods)>,
        problem: &mut Option<ClusterError>,
    ) -> Vec<(Workload, RestartReason)> {
        let mut workloads: Vec<(Workload, RestartReason)> = Vec::new();
        let mut positions: BTreeMap<Workload, usize> = BTreeMap::new();
        for (reason, pods) in stale.into_iter().take(MOST_LOOKUPS) {
            let workload = match self.workload(&pods).await {
                Ok(Some(workload)) => workload,
                Ok(None) => continue,
                Err(error) => {
                    problem.get_or_insert(error);
                    continue;
                }
            };
            match positions.get(&workload) {
                Some(position) => workloads[*position].1.merge(reason),
                None => {
                    positions.insert(workload.clone(), workloads.len());
                    workloads.push((workload, reason));
                }
            }
        }
        workloads
    }

    /// The workload of a controller; `None` if it is of a kind that is not restarted, or has been
    /// deleted.
    async fn workload(&self, pods: &StalePods) -> Result<Option<Workload>, ClusterError> {
        let StalePods { namespace, controller, .. } = pods;
        if controller.api_version != APPS || controller.kind != "ReplicaSet" {
            return Ok(Workload::of(namespace, controller));
        }
        let found = self.cluster.namespaced_in::<ReplicaSet>(namespace).get_metadata_opt(&controller.name).await?;
        let found = found.filter(|set| set.metadata.uid.as_deref() == Some(&controller.uid));
        let controller = found.and_then(|set| controller_of(set.metadata.owner_references.unwrap_or_default()));
        Ok(controller.and_then(|controller| Workload::of(namespace, &controller)))
    }

    async fn restart_for(
        &mut self,
        workload: &Workload,
        reason: &RestartReason,
        next: LastRestart,
    ) -> Result<Restart, ClusterError> {
        let done = self.restarted.get(workload).cloned().unwrap_or_default();
        if done.covers(&next, reason) {
            return Ok(Restart::Unneeded);
        }
        let restart = match workload.kind {
            WorkloadKind::Deployment => self.patch::<Deployment>(workload, reason, &next).await?,
            WorkloadKind::StatefulSet => self.patch::<StatefulSet>(workload, reason, &next).await?,
            WorkloadKind::DaemonSet => self.patch::<DaemonSet>(workload, reason, &next).await?,
        };
        if self.restarted.len() >= MOST_REMEMBERED {
            self.restarted.clear();
        }
        // Without a restart, later pods can still cause one.
        let until = if matches!(restart, Restart::Started) { next.until } else { reason.reporting };
        let known = LastRestart { digest: next.digest.or(done.digest), until: until.max(done.until) };
        self.restarted.insert(workload.clone(), known);
        if let Restart::Started = restart {
            let Workload { namespace, name, .. } = workload;
            info!(namespace, name, kind = ?workload.kind, "restarts a workload whose pods have old values");
            self.metrics.rolled_out(RolloutResult::Restarted);
        }
        Ok(restart)
    }

    async fn patch<K: Templated>(
        &self,
        workload: &Workload,
        reason: &RestartReason,
        next: &LastRestart,
    ) -> Result<Restart, ClusterError> {
        let api = self.cluster.namespaced_in::<K>(&workload.namespace);
        let found = api.get_opt(&workload.name).await?;
        let Some(found) = found.filter(|found| found.meta().uid.as_deref() == Some(&workload.uid)) else {
            return Ok(Restart::Unneeded);
        };
        // An operator replaces the pods of its workloads by its own rules.
        if is_controlled(found.meta()) || LastRestart::of(&found).covers(next, reason) {
            return Ok(Restart::Unneeded);
        }
        let mut annotations = json!({ REPLACED_UNTIL_ANNOTATION: next.until.map(|until| until.to_string()) });
        if let Some(digest) = &next.digest {
            annotations[RESTARTED_FOR_ANNOTATION] = json!(digest);
        }
        let patch = json!({
            "metadata": { "uid": workload.uid },
            "spec": { "template": { "metadata": { "annotations": annotations } } },
        });
        api.patch(&workload.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(Restart::Started)
    }

    fn report(&self, workload: &Workload, error: &ClusterError) {
        let is_denied = matches!(error, ClusterError::Refused { code: 403, .. });
        self.metrics.rolled_out(if is_denied { RolloutResult::Denied } else { RolloutResult::Failed });
        let Workload { namespace, name, .. } = workload;
        warn!(namespace, name, kind = ?workload.kind, %error, "cannot restart a workload whose pods have old values");
    }
}

fn is_controlled(metadata: &ObjectMeta) -> bool {
    metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true))
}

// === impl Workload ===

impl Workload {
    fn of(namespace: &str, controller: &OwnerReference) -> Option<Self> {
        let kind = match controller.kind.as_str() {
            "Deployment" => WorkloadKind::Deployment,
            "StatefulSet" => WorkloadKind::StatefulSet,
            "DaemonSet" => WorkloadKind::DaemonSet,
            _ => return None,
        };
        (controller.api_version == APPS).then(|| Self {
            namespace: namespace.to_owned(),
            name: controller.name.clone(),
            uid: controller.uid.clone(),
            kind,
        })
    }
}

// === impl Templated ===

impl Templated for Deployment {
    fn template(&self) -> &PodTemplateSpec {
        &self.spec.template
    }
}

impl Templated for StatefulSet {
    fn template(&self) -> &PodTemplateSpec {
        &self.spec.template
    }
}

impl Templated for DaemonSet {
    fn template(&self) -> &PodTemplateSpec {
        &self.spec.template
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        "2026-11-30T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
    }

    fn stale(reporting: &[i64]) -> StalePods {
        let oldest = reporting.iter().map(|minute| at(*minute)).min().unwrap();
        StalePods {
            namespace: "team".to_owned(),
            controller: OwnerReference::default(),
            oldest,
            current: PodVersions::default(),
            reporting: reporting.iter().map(|minute| at(*minute)).collect(),
        }
    }

    #[test]
    fn a_report_restarts_a_workload_once_and_then_only_by_a_later_pod_of_the_same_age() {
        let key = NamingKey::new([1; NamingKey::BYTES]);
        let min_age = SignedDuration::from_mins(60);
        for (what, created, now, restarted, expected) in [
            ("a young pod", &[0][..], 59, None, false),
            ("a pod of that age", &[0], 60, None, true),
            ("a pod before the restart", &[0], 120, Some(60), false),
            ("a pod before the restart that reports later", &[58], 121, Some(60), false),
            ("a pod with the restart", &[60], 121, Some(60), true),
            ("a later pod that is young, beside one before the restart", &[0, 61], 120, Some(60), false),
            ("a later pod beside one before the restart", &[0, 61], 121, Some(60), true),
        ] {
            let earlier = RestartReason { current: PodVersions::default(), reporting: Some(at(0)) };
            let done = restarted.map_or_else(LastRestart::default, |minute| earlier.restart(&key, at(minute)));
            let reason = stale(created).reason(at(now), min_age);
            let restarts = reason.is_some_and(|reason| !done.covers(&reason.restart(&key, at(now)), &reason));
            assert_eq!(restarts, expected, "{what}");
        }
    }

    #[test]
    fn new_versions_restart_a_workload_also_if_a_report_did_before() {
        let key = NamingKey::new([1; NamingKey::BYTES]);
        let promise = ampoule_core::PromiseOf { injector: "store".to_owned(), promise: "p".to_owned() };
        let reason = |version: &str| RestartReason {
            current: [(promise.clone(), version.to_owned())].into_iter().collect(),
            reporting: None,
        };
        let first = reason("1").restart(&key, at(0));
        let by_report = LastRestart { digest: None, until: Some(at(60)) };
        for (what, done, version, expected) in [
            ("the same versions", &first, "1", true),
            ("other versions", &first, "2", false),
            ("a report only", &by_report, "1", false),
            ("none", &LastRestart::default(), "1", false),
        ] {
            let reason = reason(version);
            assert_eq!(done.covers(&reason.restart(&key, at(90)), &reason), expected, "{what}");
        }
    }
}
