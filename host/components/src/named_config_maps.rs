//! ConfigMaps that the configuration names (`configmap:NAME/KEY`), read every two seconds:
//! [`NamedConfigMaps`].
//!
//! Like loading the component, this needs only the right to `get` that name.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use ampoule_cluster::Cluster;
use ampoule_net::watch::PollTimer;

const PERIOD: Duration = Duration::from_secs(2);

/// ConfigMaps and their last known versions.
pub(crate) struct NamedConfigMaps {
    api: Api<ConfigMap>,
    /// The resourceVersion by name; `None` if the ConfigMap did not exist.
    known: BTreeMap<String, Option<String>>,
    timer: PollTimer,
}

// === impl NamedConfigMaps ===

impl NamedConfigMaps {
    /// Reads the version of each ConfigMap.
    pub(crate) async fn read(cluster: &Cluster, names: Vec<String>) -> Self {
        let api = cluster.namespaced();
        let versions = names.into_iter().map(async |name| {
            // If the API server does not respond, the component cannot be loaded either. Its first
            // response then counts as a change.
            let version = version(&api, &name).await.unwrap_or_default();
            (name, version)
        });
        let known = join_all(versions).await.into_iter().collect();
        Self { api, known, timer: PollTimer::default() }
    }

    /// Returns the last known version of a ConfigMap; `None` if it did not exist.
    pub(crate) fn version(&self, name: &str) -> Option<&str> {
        self.known.get(name)?.as_deref()
    }

    /// Waits until one of the ConfigMaps has another version. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        loop {
            self.timer.due(PERIOD).await;
            let mut has_changed = false;
            for (name, known) in &self.known {
                let found = version(&self.api, name).await;
                has_changed |= found.is_some_and(|found| found != *known);
            }
            self.timer.done(PERIOD);
            if has_changed {
                return;
            }
        }
    }
}

/// Returns the version of a ConfigMap, or `Some(None)` if it does not exist. `None` without a
/// response.
async fn version(api: &Api<ConfigMap>, name: &str) -> Option<Option<String>> {
    let found = api.get_metadata_opt(name).await.ok()?;
    Some(found.and_then(|map| map.metadata.resource_version))
}
