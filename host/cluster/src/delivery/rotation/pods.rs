//! [`TrackedPod`]: a pod whose annotation has versions.
//!
//! Only the metadata of pods is read. An annotation that this webhook did not write is ignored.

use ampoule_core::{NamingKey, PodVersions, ROLLOUT_ANNOTATION, VERSIONS_ANNOTATION};
use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    jiff::Timestamp,
};
use kube::{Api, api::ListParams};

use crate::client::ClusterError;

/// Pods of one response. The annotations of a pod have up to 256 KiB.
const PAGE: u32 = 200;
/// Pods with versions in one search.
const MOST_PODS: usize = 50_000;
/// Pods that have ended keep their values.
const RUNNING: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// A running pod with the versions of its values.
pub(super) struct TrackedPod {
    pub(super) namespace: String,
    pub(super) created: Timestamp,
    /// The object that replaces the pod if it is deleted. `None` if the pod has none, and if its
    /// author excludes it from restarts.
    pub(super) controller: Option<OwnerReference>,
    pub(super) versions: PodVersions,
}

/// Adds the running pods with versions.
pub(super) async fn list(api: &Api<Pod>, key: &NamingKey, found: &mut Vec<TrackedPod>) -> Result<(), ClusterError> {
    let mut page = ListParams::default().fields(RUNNING).limit(PAGE);
    loop {
        let list = api.list_metadata(&page).await?;
        found.extend(list.items.into_iter().filter_map(|pod| TrackedPod::read(pod.metadata, key)));
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) if found.len() < MOST_PODS => page = page.continue_token(&token),
            _ => return Ok(()),
        }
    }
}

// === impl TrackedPod ===

impl TrackedPod {
    fn read(metadata: ObjectMeta, key: &NamingKey) -> Option<Self> {
        let annotations = metadata.annotations?;
        let namespace = metadata.namespace?;
        let versions = PodVersions::read(annotations.get(VERSIONS_ANNOTATION)?, &namespace, key)?;
        let is_excluded = annotations.get(ROLLOUT_ANNOTATION).is_some_and(|value| value == "false");
        let owners = metadata.owner_references.unwrap_or_default();
        let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
        Some(Self {
            namespace,
            created: metadata.creation_timestamp?.0,
            controller: controller.filter(|_| !is_excluded && metadata.deletion_timestamp.is_none()),
            versions,
        })
    }
}
