//! [`KnownComponents`]: writes the ConfigMaps with the components that pods of a namespace run.
//!
//! A ConfigMap is immutable and its name identifies its content, like that of a Secret with values.
//! A user of the namespace can delete it and create another one with its name. The webhook then
//! replaces that one; a pod compares the content, so it can only fail.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ampoule_core::{DeliveryError, ShippedComponent};
use k8s_openapi::{ByteString, api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use moka::future::Cache;
use serde_json::json;
use tracing::warn;

use super::{INJECTOR, LAST_USED, MANAGED_BY, WEBHOOK, now};
use crate::client::{Cluster, ClusterError};

/// ConfigMaps of which the process knows that they exist. Each takes about 200 bytes.
const MOST_KNOWN: u64 = 20_000;
/// Time for which a content that was compared counts.
const COMPARED: Duration = Duration::from_secs(3600);
/// Attempts to write a ConfigMap that others delete or replace.
const ATTEMPTS: usize = 3;

/// The ConfigMaps that exist, by namespace and name.
pub(super) struct KnownComponents {
    /// No renewal is due for these. Concurrent writes of one ConfigMap are one.
    renewed: Cache<String, ()>,
    /// The UIDs of objects with the right content.
    compared: Cache<String, String>,
}

// === impl KnownComponents ===

impl KnownComponents {
    pub(super) fn new(renewed: Duration) -> Self {
        Self {
            renewed: Cache::builder().max_capacity(MOST_KNOWN).time_to_live(renewed).build(),
            compared: Cache::builder().max_capacity(MOST_KNOWN).time_to_live(COMPARED).build(),
        }
    }

    /// Ensures that a namespace has the ConfigMap, and that the sweeper keeps it until the pod
    /// exists.
    pub(super) async fn ensure(
        &self,
        cluster: &Cluster,
        namespace: &str,
        component: &ShippedComponent,
    ) -> Result<(), DeliveryError> {
        let key = format!("{namespace}/{}", component.name);
        let written = self.renewed.try_get_with_by_ref(&key, self.write(cluster, namespace, component, &key)).await;
        written.map_err(|error| (*error).clone())
    }

    async fn write(
        &self,
        cluster: &Cluster,
        namespace: &str,
        component: &ShippedComponent,
        key: &str,
    ) -> Result<(), DeliveryError> {
        let api: Api<ConfigMap> = cluster.namespaced_in(namespace);
        let (name, refuse) =
            (component.name.as_str(), |verb, error: &ClusterError| refusal(verb, namespace, component, error));
        for _ in 0..ATTEMPTS {
            let metadata = metadata(component, cluster.namespace());
            match api.patch_metadata(name, &PatchParams::default(), &renewal(&metadata)).await {
                Ok(found) if found.metadata.deletion_timestamp.is_some() => {
                    let reason = format!("ConfigMap {name} is being deleted; retry, or remove its finalizers");
                    return Err(DeliveryError::Refused(reason));
                }
                Ok(found) => {
                    let uid = found.metadata.uid.unwrap_or_default();
                    if self.is_same(&api, key, &uid, component).await.map_err(|error| refuse("get", &error))? {
                        return Ok(());
                    }
                    warn!(namespace, name, "replacing a ConfigMap with another content than its name promises");
                    delete(&api, name, uid).await.map_err(|error| refuse("delete", &error))?;
                }
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(refuse("patch", &error.into())),
            }
            match api.create(&PostParams::default(), &object(component, metadata)).await {
                Ok(created) => {
                    self.compared.insert(key.to_owned(), created.metadata.uid.unwrap_or_default()).await;
                    return Ok(());
                }
                // Another replica created it.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(refuse("create", &error.into())),
            }
        }
        Err(DeliveryError::Unavailable(format!("ConfigMap {name} is deleted while it is written; retry")))
    }

    /// Whether the object with this UID has the content. An immutable object keeps it.
    async fn is_same(
        &self,
        api: &Api<ConfigMap>,
        key: &str,
        uid: &str,
        component: &ShippedComponent,
    ) -> Result<bool, ClusterError> {
        if self.compared.get(key).await.is_some_and(|compared| compared == uid) {
            return Ok(true);
        }
        let Some(found) = api.get_opt(component.name.as_str()).await? else { return Ok(false) };
        let is_same = found.metadata.uid.as_deref() == Some(uid)
            && found.immutable == Some(true)
            && found.data.is_none()
            && found.binary_data.is_some_and(|found| has_data(&found, component));
        if is_same {
            self.compared.insert(key.to_owned(), uid.to_owned()).await;
        }
        Ok(is_same)
    }
}

async fn delete(api: &Api<ConfigMap>, name: &str, uid: String) -> Result<(), ClusterError> {
    let preconditions = Some(Preconditions { uid: Some(uid), resource_version: None });
    match api.delete(name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn metadata(component: &ShippedComponent, webhook: &str) -> ObjectMeta {
    let labels = [MANAGED_BY, (WEBHOOK, webhook), (INJECTOR, component.injector.as_str())];
    let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    ObjectMeta {
        name: Some(component.name.to_string()),
        labels: Some(labels),
        annotations: Some(BTreeMap::from([(LAST_USED.to_owned(), now())])),
        ..ObjectMeta::default()
    }
}

fn object(component: &ShippedComponent, metadata: ObjectMeta) -> ConfigMap {
    ConfigMap { metadata, immutable: Some(true), binary_data: Some(data(component)), ..ConfigMap::default() }
}

/// Whether a ConfigMap has exactly the content.
fn has_data(found: &BTreeMap<String, ByteString>, component: &ShippedComponent) -> bool {
    let is_there = |(key, bytes): &(String, Arc<[u8]>)| found.get(key).is_some_and(|found| *found.0 == **bytes);
    found.len() == component.data.len() && component.data.iter().all(is_there)
}

fn data(component: &ShippedComponent) -> BTreeMap<String, ByteString> {
    component.data.iter().map(|(key, bytes)| (key.clone(), ByteString(bytes.to_vec()))).collect()
}

/// The patch for another use. It removes the owners: the garbage collector deletes the ConfigMap
/// with its last owner, and the new pod is not one yet.
fn renewal(metadata: &ObjectMeta) -> Patch<serde_json::Value> {
    Patch::Merge(json!({ "metadata": {
        "annotations": metadata.annotations, "labels": metadata.labels, "ownerReferences": null,
    } }))
}

fn refusal(verb: &str, namespace: &str, component: &ShippedComponent, error: &ClusterError) -> DeliveryError {
    let injector = &component.injector;
    warn!(namespace, injector, verb, %error, "cannot write a ConfigMap with a component");
    match error {
        ClusterError::Refused { code: 403, .. } => DeliveryError::Denied(format!(
            "injector {injector} delivers its component in a ConfigMap, but the webhook's role does not allow `{verb}` \
             on ConfigMaps in namespace {namespace}, or a quota is exhausted; the webhook's log has the details"
        )),
        ClusterError::Refused { code: 404, .. } => {
            DeliveryError::Refused(format!("namespace {namespace} does not exist"))
        }
        ClusterError::Refused { code: 400..=407 | 409..=428 | 430..=499, .. } => DeliveryError::Refused(format!(
            "the API server refuses the ConfigMap with the component of injector {injector}"
        )),
        _ => DeliveryError::Unavailable(format!(
            "the API server did not write the ConfigMap with the component of injector {injector}"
        )),
    }
}
