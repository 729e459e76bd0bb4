//! ConfigMaps that the configuration names (`configmap:NAME/KEY`), followed by looking at each every two seconds: [`Named`].
//!
//! That needs no other right than loading does, `get` on that name.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use ampoule_cluster::Cluster;
use ampoule_net::watch::Looks;

const PERIOD: Duration = Duration::from_secs(2);

/// ConfigMaps by their names, as they were seen last.
pub(super) struct Named {
    api: Api<ConfigMap>,
    /// The version of each; none if it was not there.
    known: BTreeMap<String, Option<String>>,
    looks: Looks,
}

// === impl Named ===

impl Named {
    /// Looks at each.
    pub(super) async fn look(cluster: &Cluster, names: Vec<String>) -> Self {
        let mut this = Self { api: cluster.namespaced(), known: BTreeMap::new(), looks: Looks::default() };
        for name in names {
            // Where there is no answer, there is none for whoever loads it either, and the first answer is a change.
            let version = this.version(&name).await.unwrap_or_default();
            this.known.insert(name, version);
        }
        this
    }

    /// Waits until one is another than it was seen. Cancel safe.
    pub(super) async fn changed(&mut self) {
        loop {
            self.looks.due(PERIOD).await;
            let mut changed = false;
            for (name, known) in &self.known {
                changed |= self.version(name).await.is_some_and(|found| found != *known);
            }
            self.looks.done(PERIOD);
            if changed {
                return;
            }
        }
    }

    /// None if there is no answer.
    async fn version(&self, name: &str) -> Option<Option<String>> {
        let found = self.api.get_metadata_opt(name).await.ok()?;
        Some(found.and_then(|map| map.metadata.resource_version))
    }
}
