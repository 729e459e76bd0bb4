//! Objects of any kind, from a manifest.
//!
//! The complete answer is returned, so that a test can find fields that the API server dropped.

use anyhow::{Context, Result};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
    discovery,
};
use serde_json::{Value, json};

use super::Namespace;

/// Kinds with the version of the manifests, and with the version of an API server before 1.23; the
/// manifests' fields are the same in both.
const OLDER: [(&str, &str, &str); 2] = [
    ("PodDisruptionBudget", "policy/v1", "policy/v1beta1"),
    ("HorizontalPodAutoscaler", "autoscaling/v2", "autoscaling/v2beta2"),
];

impl Namespace {
    /// Creates an object in its own namespace, which may differ from this one, and returns the
    /// stored object.
    ///
    /// # Errors
    ///
    /// If the API server refuses it, or does not know its kind.
    pub async fn create_object(&self, object: &Value) -> Result<Value> {
        self.create_with(&PostParams::default(), object).await
    }

    /// Creates an object as a dry run.
    ///
    /// # Errors
    ///
    /// As [`Namespace::create_object`].
    pub async fn dry_run(&self, object: &Value) -> Result<Value> {
        self.create_with(&PostParams { dry_run: true, ..PostParams::default() }, object).await
    }

    async fn create_with(&self, params: &PostParams, object: &Value) -> Result<Value> {
        let (resource, object) = match self.served(object).await {
            Ok(resource) => (resource, object.clone()),
            Err(error) => {
                let mut object = object.clone();
                let older = OLDER.iter().find(|(kind, new, _)| object["kind"] == *kind && object["apiVersion"] == *new);
                object["apiVersion"] = json!(older.ok_or(error)?.2);
                (self.served(&object).await?, object)
            }
        };
        let object: DynamicObject = serde_json::from_value(object)?;
        let client = self.client.clone();
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(client, &namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        Ok(serde_json::to_value(api.create(params, &object).await?)?)
    }

    /// The kind of an object, in a version that the API server serves.
    async fn served(&self, object: &Value) -> Result<ApiResource> {
        let text = |key: &str| object[key].as_str().with_context(|| format!("a manifest has the key {key}"));
        let (version, kind) = (text("apiVersion")?, text("kind")?);
        let kind = match version.split_once('/') {
            Some((group, version)) => GroupVersionKind::gvk(group, version, kind),
            None => GroupVersionKind::gvk("", version, kind),
        };
        Ok(discovery::pinned_kind(&self.client, &kind).await?.0)
    }
}
