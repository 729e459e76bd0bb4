//! The files of `deploy`, rendered by kustomize and Helm and applied to the API server.
//!
//! The stored object must contain every field of the file, so a misspelt field is found. Custom
//! resources go through models instead, which are generated from the definitions that a cluster
//! would use.

#[path = "deploy/admission_policy.rs"]
mod admission_policy;
#[path = "deploy/alerts.rs"]
mod alerts;
#[path = "deploy/chart.rs"]
mod chart;
#[path = "deploy/delivery.rs"]
mod delivery;
#[path = "deploy/kustomize.rs"]
mod kustomize;
#[path = "deploy/match_conditions.rs"]
mod match_conditions;
#[path = "deploy/restricted.rs"]
mod restricted;
#[path = "deploy/values.rs"]
mod values;

use std::path::Path;

use ampoule_tests::{Namespace, Renderers};
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// API groups of custom resources.
const CUSTOM: [&str; 2] = ["cert-manager.io/", "monitoring.coreos.com/"];

/// Kinds that the API server of the tests does not have. `admission_policy.rs` tests them.
const NEWER: [&str; 2] = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];

/// Verifies that the API server accepts every object and keeps all of its fields, and that every
/// pod conforms to `restricted`.
async fn check_taken(namespace: &Namespace, objects: &[Value]) -> Result<()> {
    let is_custom = |object: &&Value| {
        object["apiVersion"].as_str().is_some_and(|version| CUSTOM.iter().any(|group| version.starts_with(group)))
    };
    let (custom, own): (Vec<_>, Vec<_>) = objects.iter().partition(is_custom);
    for object in own {
        if NEWER.iter().any(|kind| object["kind"] == *kind) {
            continue;
        }
        let mut sent = object.clone();
        if sent["kind"] == "Namespace" {
            // The namespace `ampoule` exists already, for the other objects.
            sent["metadata"]["name"] = json!("ampoule-too");
        }
        let stored = namespace.dry_run(&sent).await.with_context(|| name(object))?;
        remove_newer_fields(&mut sent);
        // The API server may store another version of a kind.
        sent["apiVersion"] = stored["apiVersion"].clone();
        check_kept(&sent, &stored, &name(object));
        if let Value::Object(_) = &object["spec"]["template"]["spec"] {
            restricted::check(&object["spec"]["template"]["spec"]);
        }
    }
    let custom: Vec<_> = custom.into_iter().cloned().collect();
    for (sent, understood) in custom.iter().zip(Renderers::find()?.understood(&custom)?) {
        check_kept(sent, &understood, &name(sent));
    }
    Ok(())
}

/// Removes the fields that the API server of the tests does not have. `match_conditions.rs` tests
/// them.
fn remove_newer_fields(object: &mut Value) {
    if object["kind"] == "MutatingWebhookConfiguration" {
        for webhook in object["webhooks"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            webhook.remove("matchConditions");
        }
    }
}

/// Verifies that every field of `sent` is in `stored`.
pub(crate) fn check_kept(sent: &Value, stored: &Value, path: &str) {
    match (sent, stored) {
        (Value::Object(sent), _) => {
            sent.iter().for_each(|(key, value)| check_kept(value, &stored[key], &format!("{path}.{key}")));
        }
        (Value::Array(sent), Value::Array(stored)) => {
            assert_eq!(sent.len(), stored.len(), "{path}");
            sent.iter().zip(stored).for_each(|(sent, stored)| check_kept(sent, stored, path));
        }
        _ => assert_eq!(sent, stored, "{path}"),
    }
}

/// Kind and name.
fn name(object: &Value) -> String {
    format!(
        "{}/{}",
        object["kind"].as_str().unwrap_or_default(),
        object["metadata"]["name"].as_str().unwrap_or_default()
    )
}

/// The object of that kind and name.
fn find<'a>(objects: &'a [Value], kind_and_name: &str) -> Result<&'a Value> {
    let names: Vec<_> = objects.iter().map(name).collect();
    let found = objects.iter().find(|object| name(object) == kind_and_name);
    found.with_context(|| format!("no {kind_and_name} in {names:?}"))
}

/// Verifies that the configuration in a ConfigMap loads, and stores plugins in a folder below a
/// volume of the Deployment.
fn check_configuration(config_map: &Value, deployment: &Value) -> Result<()> {
    let config = config_map["data"]["ampoule.yaml"].as_str().context("the ConfigMap has the file")?;
    let built_ins: Vec<_> = ampoule_plugin_bundle::COMPONENTS.iter().map(|(name, _)| *name).collect();
    let config = ampoule_config::Config::parse(config, &built_ins).with_context(|| config.to_owned())?;
    let folder = config.engine.cache_directory.context("a folder for plugins")?;
    let parent = folder.parent().and_then(Path::to_str).context("a folder below another")?;
    let spec = &deployment["spec"]["template"]["spec"];
    let at = |list: &Value, key: &str, value: &str| {
        list.as_array()
            .into_iter()
            .flatten()
            .find(|entry| entry[key] == value)
            .cloned()
            .with_context(|| format!("no {value} in {list}"))
    };
    let mount = at(&spec["containers"][0]["volumeMounts"], "mountPath", parent)?;
    let volume = at(&spec["volumes"], "name", mount["name"].as_str().context("a name")?)?;
    assert_eq!((&volume["emptyDir"]["sizeLimit"], &mount["readOnly"]), (&json!("2Gi"), &Value::Null));
    Ok(())
}
