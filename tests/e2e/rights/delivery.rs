//! The rights of releases that deliver values through Secrets: what the webhook, and the search for
//! unused Secrets, ask of the API server.
//!
//! The pods are in the namespace `NAME-pods`, and Flyte's secrets in `NAME-flyte`.

use std::time::Duration;

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, ApiServer, Renderers, Review, asking, eventually};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::answer;
use crate::{
    release::{Release, render, selector},
    support::request,
};

/// Limit for a Secret to outlive its grace period of ten seconds.
const SWEPT: Duration = Duration::from_secs(60);
/// Flyte's identifier of an organization's secret.
const EMBEDDED: &str = "u__org__flyte__domain____project____key__Key";

/// The chart with global secrets for pods of one namespace.
pub(super) fn in_one_namespace(name: &str) -> Result<Vec<Value>> {
    global(name, &[&format!("config.delivery.namespaces[0]={name}-pods")])
}

/// The chart with global secrets for pods of every namespace.
pub(super) fn everywhere(name: &str) -> Result<Vec<Value>> {
    global(name, &[])
}

fn global(name: &str, further: &[&str]) -> Result<Vec<Value>> {
    let values = [
        "clients.acceptValuesToAnyone=true",
        "config.globalSecrets.enabled=true",
        // The default value, set explicitly so that the test can replace it.
        "config.globalSecrets.directory=/etc/secrets",
        "config.delivery.graceSeconds=10",
        "config.delivery.sweepIntervalSeconds=1",
    ];
    render(name, &[&values, further].concat())
}

/// The chart as a replacement for Flyte's, with the Embedded secret manager.
pub(super) fn embedded(name: &str) -> Result<Vec<Value>> {
    let full = format!("fullnameOverride={name}");
    let selector = format!("flyte.config.webhook.namespaceSelector={}", selector(name));
    let manager = "flyte.config.webhook.secretManagerTypes[0]=Embedded";
    let secrets = format!("flyte.config.webhook.embeddedSecretManagerConfig.k8sConfig.namespace={name}-flyte");
    let values = ["--set", &full, "--set-json", &selector, "--set", manager, "--set", &secrets];
    Renderers::find()?.helm(
        "release",
        name,
        &[&["--values", "deploy/chart/ci/flyte-values.yaml"], &values[..]].concat(),
    )
}

/// The chart with a plugin that fetches values in pods, and the search for their reports.
pub(super) fn with_reports(name: &str) -> Result<Vec<Value>> {
    let host = json!({ "host": "vault.example" });
    let config = json!({
        "injectors": [{
            "name": "store", "component": "builtin:vault-kv", "delivery": "pod",
            "settings": { "address": "https://vault.example" }, "grants": { "http": { "hosts": [host] } },
        }],
        "delivery": { "pod": { "image": format!("example.org/a@sha256:{}", "0".repeat(64)), "refreshSeconds": 10 } },
        "rotation": { "intervalSeconds": 1 },
    });
    with_config(name, &config)
}

/// The chart with a plugin that fetches values, and restarts of the workloads with old values.
pub(super) fn with_rollout(name: &str) -> Result<Vec<Value>> {
    let namespace = format!("{name}-flyte");
    let managed = json!({ "app.flyte.org/managed": "true" });
    let config = json!({
        "profile": "flyte-v2",
        "injectors": [{
            "name": "embedded", "component": "builtin:embedded", "settings": { "k8s": { "namespace": namespace } },
            "grants": { "kubernetesSecrets": [{ "namespace": namespace, "matchLabels": managed }] },
        }],
        "rotation": { "intervalSeconds": 1, "rollout": { "enabled": true, "minPodAgeSeconds": 0 } },
    });
    with_config(name, &config)
}

/// The chart with these keys of the configuration.
fn with_config(name: &str, config: &Value) -> Result<Vec<Value>> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), json!({ "config": config }).to_string())?;
    let (full, file) = (format!("fullnameOverride={name}"), file.path().display().to_string());
    let selector = format!("config.registration.namespaceSelector={}", selector(name));
    let [values, certs] = ["clients.acceptValuesToAnyone=true", "config.server.certDir=/etc/webhook/certs"];
    let words = ["--values", &file, "--set", &full, "--set", certs, "--set", values, "--set-json", &selector];
    Renderers::find()?.helm("release", name, &words)
}

/// Whether a rule exists only to restart workloads.
pub(super) fn is_about_workloads(rule: &Value) -> bool {
    rule["apiGroups"] == json!(["apps"])
}

/// Whether a rule exists only to deliver values.
pub(super) fn is_judged(rule: &Value) -> bool {
    is_about_values(rule)
        || rule["resources"] == json!(["leases"])
        || rule["resourceNames"] == json!(["ampoule-delivery-key"])
}

/// Whether a rule is about the Secrets with values, or about pods.
pub(super) fn is_about_values(rule: &Value) -> bool {
    let deletes = rule["verbs"].as_array().is_some_and(|verbs| verbs.contains(&json!("delete")));
    rule["resources"] == json!(["pods"]) || (rule["resources"] == json!(["secrets"]) && deletes)
}

/// Performs every request of a delivery, if the release delivers values.
pub(super) async fn journey(release: &Release, ampoule: &Ampoule) -> Result<()> {
    if !release.rules().any(|rule| rule["resources"] == json!(["leases"])) {
        return Ok(());
    }
    let config = release.find("ConfigMap")?["data"].to_string();
    let pods = format!("{}-pods", release.namespace.name());
    if config.contains("rollout") {
        return restart(release, ampoule, &pods).await;
    }
    if config.contains("refreshSeconds") {
        let pod = asking("task", [request("db", "password", EnvVar, "X")]);
        review(release, ampoule, &pod, &pods).await?;
        for (verb, resource) in [("list", "pods"), ("update", "leases")] {
            let found = eventually("a search", SWEPT, async || outcome(release, verb, resource).await);
            let code = found.await.with_context(|| ampoule.log().unwrap_or_default())?;
            ensure!(code == 200, "to search for reports is forbidden: {verb} {resource}: {}", ampoule.log()?);
        }
        return Ok(());
    }
    if config.contains("Embedded") {
        create_flytes_secret(release).await?;
        return review(release, ampoule, &flyte_task(), &pods).await;
    }
    let pod = asking("task", [request("db", "password", EnvVar, "")]);
    review(release, ampoule, &pod, &pods).await?;
    // A Secret that was used long ago is not written again, but renewed.
    let renewed = eventually("a renewed Secret", SWEPT, async || {
        ampoule.review_once(&Review::of(&pod, &pods)).await?;
        outcome(release, "patch", "secrets").await
    });
    ensure!(renewed.await? == 200, "to renew a Secret is forbidden");
    let deleted = eventually("the end of the unused Secret", SWEPT, async || {
        match outcome(release, "delete", "secrets").await? {
            // The second search renews the Lease.
            200 => outcome(release, "update", "leases").await,
            code => Ok(code),
        }
    });
    let code = deleted.await.with_context(|| ampoule.log().unwrap_or_default())?;
    ensure!(code == 200, "to search for unused Secrets is forbidden: {}", ampoule.log()?);
    Ok(())
}

/// Creates a Deployment, its ReplicaSet and its pod with a value, and changes the value.
async fn restart(release: &Release, ampoule: &Ampoule, namespace: &str) -> Result<()> {
    permit_to_read_flytes_secrets(release).await?;
    create_flytes_secret(release).await?;
    review(release, ampoule, &flyte_task(), namespace).await?;
    let answer = ampoule.review_once(&Review::of(&flyte_task(), namespace)).await?;
    let patch = serde_json::to_value(&answer.patch)?;
    let versions = patch.as_array().into_iter().flatten().find_map(|step| versions_in(&step["value"], &step["path"]));
    let versions = versions.context("no versions")?;
    let mut owners = json!(null);
    for kind in ["Deployment", "ReplicaSet"] {
        let object = json!({
            "apiVersion": "apps/v1", "kind": kind,
            "metadata": { "name": "web", "namespace": namespace, "ownerReferences": owners },
            "spec": { "selector": { "matchLabels": { "app": "web" } }, "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "main", "image": "busybox" }] },
            } },
        });
        let created = release.namespace.create_object(&object).await?;
        owners = json!([{ "apiVersion": "apps/v1", "kind": kind, "name": "web", "controller": true,
                          "uid": created["metadata"]["uid"] }]);
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "web-1", "namespace": namespace, "ownerReferences": owners,
                      "annotations": { "ampoule.dev/versions": versions } },
        "spec": { "containers": [{ "name": "main", "image": "busybox" }] },
    });
    release.namespace.create_object(&pod).await?;
    change_flytes_secret(release).await?;
    let patched = eventually("a restart", SWEPT, async || outcome(release, "patch", "deployments").await);
    let code = patched.await.with_context(|| ampoule.log().unwrap_or_default())?;
    ensure!(code == 200, "to restart a workload is forbidden: {}", ampoule.log()?);
    Ok(())
}

/// Permits the webhook to read what its plugin is granted, as an admin does.
async fn permit_to_read_flytes_secrets(release: &Release) -> Result<()> {
    let name = release.namespace.name();
    let namespace = format!("{name}-flyte");
    ApiServer::shared().await?.namespace(&namespace).await?;
    let group = "rbac.authorization.k8s.io";
    let (api_version, metadata) = (format!("{group}/v1"), json!({ "name": name, "namespace": namespace }));
    let account = json!({ "kind": "ServiceAccount", "name": name, "namespace": name });
    for object in [
        json!({ "apiVersion": api_version, "kind": "Role", "metadata": metadata,
                "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }] }),
        json!({ "apiVersion": api_version, "kind": "RoleBinding", "metadata": metadata, "subjects": [account],
                "roleRef": { "apiGroup": group, "kind": "Role", "name": name } }),
    ] {
        release.namespace.create_object(&object).await?;
    }
    Ok(())
}

/// The annotation with versions in a step of a patch: alone, or among all annotations.
fn versions_in(value: &Value, path: &Value) -> Option<String> {
    let alone = path.as_str().is_some_and(|path| path.ends_with("ampoule.dev~1versions"));
    let found = if alone { value } else { &value["ampoule.dev/versions"] };
    found.as_str().map(str::to_owned)
}

/// Changes the secret of the organization.
async fn change_flytes_secret(release: &Release) -> Result<()> {
    let namespace = format!("{}-flyte", release.namespace.name());
    let secrets: Api<Secret> = Api::namespaced(ApiServer::shared().await?.client()?, &namespace);
    let patch = Patch::Merge(json!({ "stringData": { EMBEDDED: "changed" } }));
    secrets.patch(&format!("{:x}", md5::compute(EMBEDDED)), &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn review(release: &Release, ampoule: &Ampoule, pod: &Value, namespace: &str) -> Result<()> {
    if !release.objects.iter().any(|object| object["metadata"]["namespace"] == namespace) {
        ApiServer::shared().await?.namespace(namespace).await?;
    }
    let response = ampoule.review_once(&Review::of(pod, namespace)).await?;
    let is_forbidden = refused(release).await?.map_or("allowed", |_| "forbidden");
    ensure!(response.allowed, "a request of the process is {is_forbidden}: {}", response.message);
    Ok(())
}

/// Creates a secret of the organization, as Flyte's service does.
async fn create_flytes_secret(release: &Release) -> Result<()> {
    let namespace = format!("{}-flyte", release.namespace.name());
    let labels = json!({ "app.flyte.org/managed": "true" });
    let name = format!("{:x}", md5::compute(EMBEDDED));
    let metadata = json!({ "name": name, "namespace": namespace, "labels": labels });
    let secret =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": { EMBEDDED: "value" } });
    release.namespace.create_object(&secret).await.map(drop)
}

fn flyte_task() -> Value {
    let mut pod = asking("task", [request("", "Key", EnvVar, "")]);
    for (label, value) in [("organization", "flyte"), ("domain", "development"), ("project", "flytesnacks")] {
        pod["metadata"]["labels"][label] = json!(value);
    }
    pod
}

/// The code of the answer to such a request, or that of a request that the API server refused.
async fn outcome(release: &Release, verb: &str, resource: &str) -> Result<u64> {
    match answer(release, verb, resource).await {
        Err(missing) => refused(release).await?.ok_or(missing),
        found => found,
    }
}

/// The code of the first request that the release may not make.
async fn refused(release: &Release) -> Result<Option<u64>> {
    let asked = ApiServer::shared().await?.audit(release.namespace.name())?;
    let mut codes = asked.iter().filter_map(|event| event["responseStatus"]["code"].as_u64());
    Ok(codes.find(|code| *code == 403))
}
