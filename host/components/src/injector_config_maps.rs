//! [`InjectorConfigMaps`]: watches the ConfigMaps that define injectors. They are in the process'
//! own namespace and have the label that marks injectors.
//!
//! The last known ConfigMaps stay in effect while the API server is unavailable.

use k8s_openapi::api::core::v1::ConfigMap;
use tokio::{sync::watch, task::JoinSet};

use crate::kept_config_maps::{self, KeptConfigMaps};
use ampoule_cluster::{
    Cluster, ClusterError,
    follow::{ObjectFollower, ObjectSelector},
};

/// The label of a ConfigMap that defines an injector.
const LABEL: &str = "ampoule.dev/injector=true";

/// The present ConfigMaps that define injectors.
pub(crate) struct InjectorConfigMaps {
    maps: watch::Receiver<KeptConfigMaps>,
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
        let follower = ObjectFollower::<ConfigMap>::new(cluster.watching().namespaced(), selector);
        let follower = follower.with_trim(kept_config_maps::trim);
        let (maps, version) = follower.list().await?;
        let (sender, receiver) = watch::channel(KeptConfigMaps::listed(maps));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let apply = |change| {
                let mut flow = std::ops::ControlFlow::Continue(());
                sender.send_if_modified(|kept| {
                    let (is_changed, next) = kept.apply(change);
                    flow = next;
                    is_changed
                });
                flow
            };
            follower.run_or_list(version, apply).await;
        });
        Ok(Self { maps: receiver, _task: task })
    }

    /// Returns the present ConfigMaps. [`InjectorConfigMaps::changed`] reports changes from now on.
    pub(crate) fn get(&mut self) -> KeptConfigMaps {
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
