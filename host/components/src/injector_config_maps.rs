//! The ConfigMaps that bring injectors along, followed by a watch: [`ConfigMaps`]. They are those of the process' own namespace with the label.
//!
//! What was seen last stays while the API server is away.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, WatchEvent, WatchParams},
};
use tokio::{sync::watch, task::JoinSet, time::sleep};
use tracing::warn;

use ampoule_cluster::{Cluster, ClusterError};

/// What a ConfigMap needs to be one of them.
const LABEL: &str = "ampoule.dev/injector=true";
/// The API server ends a watch after this time, in seconds.
const WATCH: u32 = 120;
/// Between two tries, doubled with each further one that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// ConfigMaps by their names.
pub type Maps = BTreeMap<String, Arc<ConfigMap>>;

/// Those that are there now.
pub(super) struct ConfigMaps {
    maps: watch::Receiver<Maps>,
    /// Ends with this.
    _task: JoinSet<()>,
}

// === impl ConfigMaps ===

impl ConfigMaps {
    /// Starts to follow them, and returns once all are seen that are there.
    ///
    /// # Errors
    ///
    /// If they cannot be listed.
    pub(super) async fn follow(cluster: &Cluster) -> Result<Self, ClusterError> {
        let api = cluster.watching().namespaced();
        let (maps, version) = list(&api).await?;
        let (sender, receiver) = watch::channel(maps);
        let mut task = JoinSet::new();
        task.spawn(run(api, sender, version));
        Ok(Self { maps: receiver, _task: task })
    }

    /// Those that are there. [`ConfigMaps::changed`] tells of any others from now on.
    pub(super) fn get(&mut self) -> Maps {
        self.maps.borrow_and_update().clone()
    }

    /// Waits until there are others than [`ConfigMaps::get`] gave last. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.maps.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Watches, and lists again where a watch breaks off. Never ends.
async fn run(api: Api<ConfigMap>, maps: watch::Sender<Maps>, mut version: String) {
    let mut pause = FIRST_PAUSE;
    loop {
        let broken = match watch(&api, &maps, &mut version, &mut pause).await {
            Ok(()) => {
                sleep(FIRST_PAUSE).await;
                continue;
            }
            Err(broken) => broken,
        };
        sleep(pause).await;
        match list(&api).await {
            Ok((listed, listed_at)) => {
                version = listed_at;
                install(&maps, listed);
            }
            Err(error) => warn!(%error, "the ConfigMaps with injectors cannot be listed, and those seen last stay"),
        }
        // Too old a version is no fault, and one that breaks at once must not keep the API server busy.
        if let Some(error) = broken {
            warn!(%error, seconds = pause.as_secs(), "the ConfigMaps with injectors cannot be watched, and are listed instead");
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Until the API server ends the watch. An error that is none says that the version is too old. A watch that tells something works, and the
/// next that breaks is the first again.
async fn watch(
    api: &Api<ConfigMap>,
    maps: &watch::Sender<Maps>,
    version: &mut String,
    pause: &mut Duration,
) -> Result<(), Option<ClusterError>> {
    let params = WatchParams::default().labels(LABEL).timeout(WATCH);
    let mut events = pin!(api.watch(&params, version).await.map_err(|error| Some(error.into()))?);
    while let Some(event) = events.try_next().await.map_err(|error| Some(error.into()))? {
        match event {
            WatchEvent::Added(map) | WatchEvent::Modified(map) => {
                *version = map.resource_version().unwrap_or_default();
                maps.send_if_modified(|maps| put(maps, map));
            }
            // Also of one that lost its label.
            WatchEvent::Deleted(map) => {
                *version = map.resource_version().unwrap_or_default();
                maps.send_if_modified(|maps| maps.remove(&map.name_any()).is_some());
            }
            WatchEvent::Bookmark(bookmark) => *version = bookmark.metadata.resource_version,
            WatchEvent::Error(_) => return Err(None),
        }
        *pause = FIRST_PAUSE;
    }
    *pause = FIRST_PAUSE;
    Ok(())
}

/// All of them, and the version that a watch goes on from.
async fn list(api: &Api<ConfigMap>) -> Result<(Maps, String), ClusterError> {
    let list = api.list(&ListParams::default().labels(LABEL)).await?;
    let version = list.metadata.resource_version.unwrap_or_default();
    Ok((list.items.into_iter().map(|map| (map.name_any(), Arc::new(map))).collect(), version))
}

fn install(maps: &watch::Sender<Maps>, listed: Maps) {
    maps.send_if_modified(|maps| {
        let same = maps.len() == listed.len()
            && maps.iter().zip(&listed).all(|((a, before), (b, now))| a == b && says_the_same(before, now));
        *maps = listed;
        !same
    });
}

/// Whether it says something else than before.
fn put(maps: &mut Maps, map: ConfigMap) -> bool {
    let map = Arc::new(map);
    let before = maps.insert(map.name_any(), Arc::clone(&map));
    before.is_none_or(|before| !says_the_same(&before, &map))
}

/// Annotations and who wrote what are nothing to a plugin; Events are about an object of one uid.
fn says_the_same(one: &ConfigMap, other: &ConfigMap) -> bool {
    one.data == other.data && one.binary_data == other.binary_data && one.metadata.uid == other.metadata.uid
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_a_plugin_is_made_of_is_a_change() {
        let (sender, mut receiver) = watch::channel(Maps::new());
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
            // As a watch tells it, and as a list does.
            let mut listed = receiver.borrow_and_update().clone();
            assert_eq!(put(&mut listed, map), expected, "{what}");
            install(&sender, listed);
            assert_eq!(receiver.has_changed().unwrap(), expected, "{what}");
        }
        install(&sender, Maps::new());
        assert!(receiver.has_changed().unwrap(), "it is gone");
    }
}
