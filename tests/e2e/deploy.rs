//! The manifests of `deploy/kustomize/base`, as the API server takes them.
//!
//! Applied with strict eyes: what comes back must still say all that the file says, so a misspelt field is found.

use std::{fs, path::Path};

use ampoule_tests::ApiServer;
use anyhow::{Context, Result};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::{Value, json};

fn manifest(name: &str) -> Result<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kustomize/base").join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{}", path.display()))
}

/// Sends an object for a dry run and gives back what would be stored.
async fn accepted(server: &ApiServer, manifest: &Value) -> Result<Value> {
    let object: DynamicObject = serde_json::from_value(manifest.clone())?;
    let types = object.types.clone().context("a manifest has a kind")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(server.client()?, &namespace, &resource),
        None => Api::all_with(server.client()?, &resource),
    };
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    Ok(serde_json::to_value(api.create(&dry_run, &object).await?)?)
}

/// Whether everything that was said is still there.
fn check_kept(said: &Value, stored: &Value, path: &str) {
    match (said, stored) {
        (Value::Object(said), _) => {
            said.iter().for_each(|(key, value)| check_kept(value, &stored[key], &format!("{path}.{key}")));
        }
        (Value::Array(said), Value::Array(stored)) => {
            assert_eq!(said.len(), stored.len(), "{path}");
            said.iter().zip(stored).for_each(|(said, stored)| check_kept(said, stored, path));
        }
        _ => assert_eq!(said, stored, "{path}"),
    }
}

#[tokio::test]
async fn the_api_server_takes_every_manifest_whole() -> Result<()> {
    let server = ApiServer::shared().await?;
    let _namespace = server.namespace("ampoule").await?;
    let kustomization = manifest("kustomization.yaml")?;
    let resources = kustomization["resources"].as_array().context("the kustomization lists its resources")?;
    assert_eq!(resources.len(), 6);
    for name in resources.iter().filter_map(Value::as_str) {
        let mut said = manifest(name)?;
        if said["kind"] == "Namespace" {
            // The one of that name is there, for the others to be accepted into.
            said["metadata"]["name"] = json!("ampoule-too");
        }
        let stored = accepted(server, &said).await.with_context(|| name.to_owned())?;
        check_kept(&said, &stored, name);
    }
    Ok(())
}

#[test]
fn a_pod_with_either_label_reaches_the_webhook_once() -> Result<()> {
    let manifest = manifest("webhook.yaml")?;
    let selector = |i: usize| &manifest["webhooks"][i]["objectSelector"];
    let [flyte, people] = ampoule_core::TRIGGER_LABELS;
    assert_eq!(selector(0), &json!({ "matchLabels": { flyte: "true" } }));
    let not_flyte = json!([{ "key": flyte, "operator": "NotIn", "values": ["true"] }]);
    assert_eq!(selector(1), &json!({ "matchLabels": { people: "true" }, "matchExpressions": not_flyte }));
    assert_eq!(manifest["webhooks"].as_array().map(Vec::len), Some(2));
    for key in ["rules", "namespaceSelector", "failurePolicy", "reinvocationPolicy", "sideEffects", "timeoutSeconds"] {
        assert_eq!(manifest["webhooks"][0][key], manifest["webhooks"][1][key], "{key}");
    }
    Ok(())
}

#[test]
fn the_configuration_in_the_manifests_loads() -> Result<()> {
    let config = manifest("config-map.yaml")?;
    let config = config["data"]["ampoule.yaml"].as_str().context("the ConfigMap has the file")?;
    let built_ins: Vec<_> = ampoule_plugin_bundle::COMPONENTS.iter().map(|(name, _)| *name).collect();
    ampoule_server::config::Config::parse(config, &built_ins)?;
    Ok(())
}
