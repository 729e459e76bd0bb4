//! [`TrackedPod`]: a pod whose annotation has versions, or states that the pod reports changes.
//!
//! Only the metadata of pods is read. An annotation that this webhook did not write is ignored.

use ampoule_core::{NamingKey, PodVersions, ROLLOUT_ANNOTATION, VERSIONS_ANNOTATION, is_object_name};
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
pub(super) const RUNNING: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// A running pod with the versions of its values.
pub(super) struct TrackedPod {
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) created: Timestamp,
    /// The object that replaces the pod if it is deleted. `None` if the pod has none, and if its
    /// author excludes it from restarts.
    pub(super) controller: Option<OwnerReference>,
    pub(super) versions: PodVersions,
    /// What its sidecar reports; `None` without such a sidecar.
    pub(super) reported: Option<ReportedState>,
}

/// The variables of a running pod, compared with the store by its sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReportedState {
    /// They have the values of the store.
    Current,
    /// A container has at least one other value.
    Old,
    /// The sidecar does not run.
    Unknown,
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

/// The controller among the owners of an object. A user of the namespace can write it, and the
/// client does not encode its name in the path of a request.
pub(super) fn controller_of(owners: Vec<OwnerReference>) -> Option<OwnerReference> {
    let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
    controller.filter(|controller| is_object_name(&controller.name))
}

// === impl TrackedPod ===

impl TrackedPod {
    fn read(metadata: ObjectMeta, key: &NamingKey) -> Option<Self> {
        let annotations = metadata.annotations?;
        let namespace = metadata.namespace?;
        let versions = PodVersions::read(annotations.get(VERSIONS_ANNOTATION)?, &namespace, key)?;
        let is_excluded = annotations.get(ROLLOUT_ANNOTATION).is_some_and(|value| value == "false");
        let controller = controller_of(metadata.owner_references.unwrap_or_default());
        Some(Self {
            namespace,
            uid: metadata.uid?,
            created: metadata.creation_timestamp?.0,
            controller: controller.filter(|_| !is_excluded && metadata.deletion_timestamp.is_none()),
            reported: versions.reports_changes().then_some(ReportedState::Unknown),
            versions,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_controller_has_a_name_that_an_object_can_have() {
        let key = NamingKey::new([1; NamingKey::BYTES]);
        let owner = |name: &str| json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": "u", "controller": true }]);
        for (name, expected) in
            [("web", true), ("web.v2", true), ("web/scale", false), ("../../b/deployments/web", false)]
        {
            let controller = controller_of(serde_json::from_value(owner(name)).unwrap());
            assert_eq!(controller.is_some(), expected, "{name}");
        }
        assert!(TrackedPod::read(ObjectMeta::default(), &key).is_none());
    }
}
