//! [`Rollouts`]: restarts the workloads of pods with old values, like `kubectl rollout restart`: by
//! an annotation of the pod template.
//!
//! The annotation's value is a digest of the new versions. The same versions restart a workload
//! once, also if another program or an operator removes the annotation.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use ampoule_config::RolloutConfig;
use ampoule_core::{NamingKey, PodVersions, RESTARTED_FOR_ANNOTATION};
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
/// The API group of workloads.
const APPS: &str = "apps/v1";

/// The pods of one controller that have old values.
pub(super) struct StalePods {
    namespace: String,
    controller: OwnerReference,
    oldest: Timestamp,
    /// The versions that new pods will get.
    current: PodVersions,
}

/// Restarts workloads.
pub(super) struct Rollouts {
    cluster: Cluster,
    config: RolloutConfig,
    metrics: Metrics,
    /// The digests for which this process restarted workloads.
    restarted: HashMap<Workload, String>,
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
        }
    }

    /// Adds a pod, and the current versions of its values.
    pub(super) fn add(&mut self, pod: &TrackedPod, current: PodVersions) {
        self.oldest = self.oldest.min(pod.created);
        self.current.extend(current);
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
        stale.retain(|pods| now.duration_since(pods.oldest) >= min_age);
        stale.sort_by_key(|pods| pods.oldest);
        let (mut restarted, mut problem) = (0, None);
        for (workload, current) in self.workloads(stale, &mut problem).await {
            if restarted >= self.config.workloads_per_interval {
                break;
            }
            match self.restart_for(&workload, &current.digest(key)).await {
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
        stale: Vec<StalePods>,
        problem: &mut Option<ClusterError>,
    ) -> Vec<(Workload, PodVersions)> {
        let mut workloads: Vec<(Workload, PodVersions)> = Vec::new();
        let mut positions: BTreeMap<Workload, usize> = BTreeMap::new();
        for pods in stale.into_iter().take(MOST_LOOKUPS) {
            let workload = match self.workload(&pods).await {
                Ok(Some(workload)) => workload,
                Ok(None) => continue,
                Err(error) => {
                    problem.get_or_insert(error);
                    continue;
                }
            };
            match positions.get(&workload) {
                Some(position) => workloads[*position].1.extend(pods.current),
                None => {
                    positions.insert(workload.clone(), workloads.len());
                    workloads.push((workload, pods.current));
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

    async fn restart_for(&mut self, workload: &Workload, digest: &str) -> Result<Restart, ClusterError> {
        if self.restarted.get(workload).is_some_and(|done| done == digest) {
            return Ok(Restart::Unneeded);
        }
        let restart = match workload.kind {
            WorkloadKind::Deployment => self.patch::<Deployment>(workload, digest).await?,
            WorkloadKind::StatefulSet => self.patch::<StatefulSet>(workload, digest).await?,
            WorkloadKind::DaemonSet => self.patch::<DaemonSet>(workload, digest).await?,
        };
        if self.restarted.len() >= MOST_REMEMBERED {
            self.restarted.clear();
        }
        self.restarted.insert(workload.clone(), digest.to_owned());
        if let Restart::Started = restart {
            let Workload { namespace, name, .. } = workload;
            info!(namespace, name, kind = ?workload.kind, "restarts a workload whose pods have old values");
            self.metrics.rolled_out(RolloutResult::Restarted);
        }
        Ok(restart)
    }

    async fn patch<K: Templated>(&self, workload: &Workload, digest: &str) -> Result<Restart, ClusterError> {
        let api = self.cluster.namespaced_in::<K>(&workload.namespace);
        let found = api.get_opt(&workload.name).await?;
        let Some(found) = found.filter(|found| found.meta().uid.as_deref() == Some(&workload.uid)) else {
            return Ok(Restart::Unneeded);
        };
        // An operator replaces the pods of its workloads by its own rules.
        if is_controlled(found.meta()) || is_restarted_for(&found, digest) {
            return Ok(Restart::Unneeded);
        }
        let annotations = json!({ RESTARTED_FOR_ANNOTATION: digest });
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

fn is_restarted_for<K: Templated>(workload: &K, digest: &str) -> bool {
    let metadata = workload.template().metadata.as_ref();
    let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
    annotations.and_then(|annotations| annotations.get(RESTARTED_FOR_ANNOTATION)).is_some_and(|done| done == digest)
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
