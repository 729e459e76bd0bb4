//! Objects of any kind, as a manifest says them.
//!
//! What a file says and the API server does not know must not pass unseen, so the whole answer is given back.

use anyhow::{Context, Result};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
    discovery,
};
use serde_json::{Value, json};

use super::Namespace;

/// Kinds under the version that manifests are written for, and under the one that an API server from before 1.23 has; what our
/// manifests say is the same in both.
const OLDER: [(&str, &str, &str); 2] = [
    ("PodDisruptionBudget", "policy/v1", "policy/v1beta1"),
    ("HorizontalPodAutoscaler", "autoscaling/v2", "autoscaling/v2beta2"),
];

impl Namespace {
    /// Creates an object where it says, which need not be this namespace, and gives what is stored.
    ///
    /// # Errors
    ///
    /// If the API server refuses it, or does not know its kind.
    pub async fn create_object(&self, object: &Value) -> Result<Value> {
        self.create_with(&PostParams::default(), object).await
    }

    /// Asks what would come of an object, without creating it.
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

    /// The kind of an object, if the API server has it.
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
