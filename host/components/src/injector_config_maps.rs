//! [`InjectorConfigMaps`]: watches the ConfigMaps that define injectors. They are in the process' own
//! namespace and have the label that marks injectors.
//!
//! The last known ConfigMaps stay in effect while the API server is unavailable.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use tokio::{sync::watch, task::JoinSet};

use ampoule_cluster::{
    Cluster, ClusterError,
    follow::{ObjectChange, ObjectFollower, ObjectSelector},
};

/// The label of a ConfigMap that defines an injector.
const LABEL: &str = "ampoule.dev/injector=true";

/// ConfigMaps by name.
pub type ConfigMapsByName = BTreeMap<String, Arc<ConfigMap>>;

/// The present ConfigMaps that define injectors.
pub(crate) struct InjectorConfigMaps {
    maps: watch::Receiver<ConfigMapsByName>,
    /// Ends with this value.
    _task: JoinSet<()>,
}

// === impl InjectorConfigMaps ===

impl InjectorConfigMaps {
    /// Starts to follow the ConfigMaps, and returns once the existing ones are known.
    ///
    /// # Errors
    ///
    /// If they cannot be listed.
    pub(crate) async fn follow(cluster: &Cluster) -> Result<Self, ClusterError> {
        let selector = ObjectSelector::Labels(LABEL.to_owned());
        let follower = ObjectFollower::new(cluster.watching().namespaced(), selector);
        let (maps, version) = follower.list().await?;
        let (sender, receiver) = watch::channel(by_name(maps));
        let mut task = JoinSet::new();
        task.spawn(async move {
            follower.run(version, |change| apply(&sender, change)).await;
        });
        Ok(Self { maps: receiver, _task: task })
    }

    /// Returns the present ConfigMaps. [`InjectorConfigMaps::changed`] reports changes from now on.
    pub(crate) fn get(&mut self) -> ConfigMapsByName {
        self.maps.borrow_and_update().clone()
    }

    /// Waits until the ConfigMaps differ from the last result of [`InjectorConfigMaps::get`].
    /// Cancel safe.
    pub(crate) async fn changed(&mut self) {
        if self.maps.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

fn apply(sender: &watch::Sender<ConfigMapsByName>, change: ObjectChange<ConfigMap>) {
    sender.send_if_modified(|maps| match change {
        ObjectChange::Listed(listed) => replace(maps, by_name(listed)),
        ObjectChange::Applied(map) => insert(maps, map),
        ObjectChange::Deleted(map) => maps.remove(&map.name_any()).is_some(),
    });
}

fn by_name(maps: Vec<ConfigMap>) -> ConfigMapsByName {
    maps.into_iter().map(|map| (map.name_any(), Arc::new(map))).collect()
}

/// Replaces all ConfigMaps. Returns whether the content changed.
fn replace(maps: &mut ConfigMapsByName, listed: ConfigMapsByName) -> bool {
    let is_same = maps.len() == listed.len()
        && maps.iter().zip(&listed).all(|((a, before), (b, now))| a == b && has_same_content(before, now));
    *maps = listed;
    !is_same
}

/// Inserts or replaces a ConfigMap. Returns whether the content changed.
fn insert(maps: &mut ConfigMapsByName, map: ConfigMap) -> bool {
    let map = Arc::new(map);
    let before = maps.insert(map.name_any(), Arc::clone(&map));
    before.is_none_or(|before| !has_same_content(&before, &map))
}

/// Plugins do not depend on annotations and managed fields. Events refer to an object by its uid.
fn has_same_content(one: &ConfigMap, other: &ConfigMap) -> bool {
    one.data == other.data && one.binary_data == other.binary_data && one.metadata.uid == other.metadata.uid
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_changes_to_the_content_are_reported() {
        let (sender, mut receiver) = watch::channel(ConfigMapsByName::new());
        let map = |uid: &str, text: &str, binary: &str, note: &str| -> ConfigMap {
            let metadata = json!({ "name": "a", "uid": uid, "resourceVersion": note, "annotations": { "note": note } });
            let map = json!({ "metadata": metadata, "data": { "x": text }, "binaryData": { "y": binary } });
            serde_json::from_value(map).unwrap()
        };
        for (what, map, expected) in [
            ("a new one", map("1", "t", "AA==", ""), true),
            ("the same", map("1", "t", "AA==", ""), false),
            ("another annotation", map("1", "t", "AA==", "n"), false),
            ("another text", map("1", "u", "AA==", "n"), true),
            ("other bytes", map("1", "u", "AQ==", "n"), true),
            ("another of that name", map("2", "u", "AQ==", "n"), true),
        ] {
            // Once as an event of a watch, once as a list.
            let mut listed = receiver.borrow_and_update().clone();
            assert_eq!(insert(&mut listed, map), expected, "{what}");
            sender.send_if_modified(|maps| replace(maps, listed));
            assert_eq!(receiver.has_changed().unwrap(), expected, "{what}");
        }
        sender.send_if_modified(|maps| replace(maps, ConfigMapsByName::new()));
        assert!(receiver.has_changed().unwrap(), "the ConfigMap was removed");
    }
}
