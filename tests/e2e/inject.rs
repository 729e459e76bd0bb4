//! Pods that receive their secrets: the stored pod is compared as a whole, including the API
//! server's defaults.
//!
//! The tests cover both profiles, which differ in names, in order, and in the handling of the pod's
//! own variables.

use ampoule_core::MountRequirement::{EnvVar, File};
use ampoule_tests::{Ampoule, ApiServer, Registration, Review, asking};
use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::support::{ANY, AS_ENV_VAR, AS_FILE, Guests, K8S, MY_SECRET, VOLUME, config, registered, request, v1, v2};

/// A pod with two containers and an init container; each must receive the requested secrets, and
/// has variables of its own.
fn workload(name: &str, requests: &[String]) -> Value {
    let mut pod = asking(name, requests.iter().cloned());
    pod["spec"]["containers"][0]["env"] =
        json!([{ "name": "OWN", "value": "1" }, { "name": "TOKEN_FILE", "value": "mine" }]);
    let side = json!({ "name": "side", "image": "example.org/side:1" });
    pod["spec"]["containers"].as_array_mut().expect("a list").push(side);
    pod["spec"]["initContainers"] = json!([{ "name": "prepare", "image": "example.org/prepare:1" }]);
    pod
}

/// Two files of one Secret and one variable: tests the volume and the lists that result.
fn three_requests() -> [String; 3] {
    [AS_FILE.to_owned(), AS_ENV_VAR.to_owned(), request("user-info", "Token", File, "TOKEN_FILE")]
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
}

/// A variable from a Secret's key.
fn from_secret(name: &str, secret: &str, key: &str) -> Value {
    let key = json!({ "name": secret, "key": key, "optional": true });
    json!({ "name": name, "valueFrom": { "secretKeyRef": key } })
}

fn literal(name: &str, value: &str) -> Value {
    // The API server omits an empty value.
    if value.is_empty() { json!({ "name": name }) } else { json!({ "name": name, "value": value }) }
}

/// Verifies one volume for both files, mounted once in every container.
fn check_files(pod: &Value) {
    let items = json!([{ "key": "user_secret", "path": "user_secret" }, { "key": "Token", "path": "token" }]);
    let secret = json!({ "secretName": "user-info", "items": items, "optional": true, "defaultMode": 420 });
    assert_eq!(pod["spec"]["volumes"], json!([{ "name": VOLUME, "secret": secret }]));
    let mount = json!({ "name": VOLUME, "mountPath": "/etc/flyte/secrets/user-info", "readOnly": true });
    for container in containers(pod) {
        assert_eq!(container["volumeMounts"], json!([mount]), "{}", container["name"]);
    }
}

#[tokio::test]
async fn a_pod_gets_its_secrets_under_flyte_v1() -> Result<()> {
    let (namespace, _ampoule) = registered("inject-v1", &v1()).await?;
    namespace.create_secret("user-info", &[("user_secret", "s3cret"), ("Token", "t0ken")]).await?;
    let created = namespace.create_pod(&workload("task", &three_requests())).await?;
    check_files(&created);
    let injected = [
        literal("FLYTE_SECRETS_DEFAULT_DIR", "/etc/flyte/secrets"),
        literal("FLYTE_SECRETS_FILE_PREFIX", ""),
        from_secret("_FSEC_USER-INFO_USER_SECRET", "user-info", "user_secret"),
        literal("FLYTE_SECRETS_ENV_PREFIX", "_FSEC_"),
        literal("TOKEN_FILE", "/etc/flyte/secrets/user-info/token"),
    ];
    for container in containers(&created) {
        // The pod's own variables come first and are kept.
        let expected = match container["name"].as_str() {
            Some("main") => [&[literal("OWN", "1"), literal("TOKEN_FILE", "mine")], &injected[..4]].concat(),
            _ => injected.to_vec(),
        };
        assert_eq!(container["env"], json!(expected), "{}", container["name"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_pod_gets_its_secrets_under_flyte_v2() -> Result<()> {
    let (namespace, _ampoule) = registered("inject-v2", &v2()).await?;
    let [file, env_var, token] = three_requests();
    let created = namespace.create_pod(&workload("task", &[file, env_var, token, MY_SECRET.to_owned()])).await?;
    check_files(&created);
    // The MD5 of the key replaces the group, and the last variable is first.
    let my_secret = "6b0505a44d4164f2b5790943b1f43e64";
    let name = format!("_UNION_{}_MY_SECRET", my_secret.to_uppercase());
    let injected = [
        literal("FLYTE_SECRETS_ENV_PREFIX", "_UNION_"),
        from_secret("MY_SECRET", my_secret, "my_secret"),
        from_secret(&name, my_secret, "my_secret"),
        literal("TOKEN_FILE", "/etc/flyte/secrets/user-info/token"),
        literal("FLYTE_SECRETS_FILE_PREFIX", ""),
        literal("FLYTE_SECRETS_DEFAULT_DIR", "/etc/flyte/secrets"),
        from_secret("_UNION_USER-INFO_USER_SECRET", "user-info", "user_secret"),
    ];
    for container in containers(&created) {
        // The pod's own variables follow, and one of the same name is replaced.
        let mut expected = injected.to_vec();
        if container["name"] == "main" {
            expected.push(literal("OWN", "1"));
        }
        assert_eq!(container["env"], json!(expected), "{}", container["name"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_typed_client_reads_the_secret_and_the_pod_that_uses_it() -> Result<()> {
    let (namespace, _ampoule) = registered("inject-typed", &v1()).await?;
    namespace.create_secret("user-info", &[("user_secret", "s3cret")]).await?;
    let pods = namespace.api::<Pod>();
    pods.create(&PostParams::default(), &serde_json::from_value(asking("task", [AS_ENV_VAR, ANY]))?).await?;
    let spec = pods.get("task").await?.spec.context("a spec")?;
    let env = spec.containers[0].env.clone().unwrap_or_default();
    let reference = env[0].value_from.clone().and_then(|from| from.secret_key_ref).context("a reference")?;
    let secret = namespace.api::<Secret>().get(&reference.name).await?;
    let value = &secret.data.context("data")?[&reference.key];
    assert_eq!(value.0, b"s3cret");
    let volume = spec.volumes.unwrap_or_default().remove(0);
    assert_eq!(volume.secret.and_then(|secret| secret.secret_name), secret.metadata.name);
    Ok(())
}

#[tokio::test]
async fn a_pod_without_the_label_is_untouched() -> Result<()> {
    let (namespace, _ampoule) = registered("unlabelled", &v1()).await?;
    let mut unlabelled = workload("task", &three_requests());
    unlabelled["metadata"]["labels"] = json!({});
    let created = namespace.create_pod(&unlabelled).await?;
    assert_eq!(created["spec"]["volumes"], json!(null));
    assert_eq!(created["spec"]["containers"][0]["env"], unlabelled["spec"]["containers"][0]["env"]);
    assert!(containers(&created).all(|container| container["volumeMounts"].is_null()));
    Ok(())
}

#[tokio::test]
async fn a_labelled_pod_without_a_request_is_untouched() -> Result<()> {
    let (namespace, ampoule) = registered("no-request", &v1()).await?;
    let created = namespace.create_pod(&asking("task", [""; 0])).await?;
    assert_eq!(created["spec"]["volumes"], json!(null));
    assert_eq!(created["spec"]["containers"][0]["env"], json!(null));
    let metrics = ampoule.admin("/metrics").await?.text();
    assert!(metrics.contains("ampoule_admissions_total{outcome=\"unchanged\"} 1\n"), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn a_dry_run_returns_the_secrets_and_creates_nothing() -> Result<()> {
    let (namespace, _ampoule) = registered("dry-run", &v1()).await?;
    let shown = namespace.dry_run_pod(&workload("task", &three_requests())).await??;
    check_files(&shown);
    assert!(!namespace.has_pod("task").await?);
    Ok(())
}

#[tokio::test]
async fn a_registration_for_v1beta1_alone_works_if_the_server_supports_it() -> Result<()> {
    let api = ApiServer::shared().await?;
    let namespace = api.namespace("v1beta1").await?;
    let ampoule = Ampoule::start(&v1()).await?;
    let registration = Registration { review_versions: vec!["v1beta1"], ..Registration::default() };
    namespace.register_as(&ampoule, &registration).await?;
    check_files(&namespace.create_pod(&workload("task", &three_requests())).await?);
    let refusal = namespace.try_create_pod(&asking("bad", ["!"])).await?.expect_err("a refusal");
    assert_eq!(refusal.code, 400);
    Ok(())
}

/// Reviews the stored pod again, with defaults that the pod's author did not write: the webhook
/// must add nothing.
async fn check_second_review(name: &str, config: &str) -> Result<()> {
    let (namespace, ampoule) = registered(name, config).await?;
    let created = namespace.create_pod(&workload("task", &three_requests())).await?;
    check_files(&created);
    let response = ampoule.review_once(&Review::of(&created, namespace.name())).await?;
    assert!(response.allowed);
    assert_eq!(response.patch, json_patch::Patch::default());
    Ok(())
}

#[tokio::test]
async fn a_second_review_changes_nothing_under_flyte_v1() -> Result<()> {
    check_second_review("second-review-v1", &v1()).await
}

#[tokio::test]
async fn a_second_review_changes_nothing_under_flyte_v2() -> Result<()> {
    check_second_review("second-review-v2", &v2()).await
}

#[tokio::test]
async fn a_reinvocation_after_another_webhook_changes_nothing() -> Result<()> {
    let guests = Guests::write(&["echo"])?;
    let namespace = ApiServer::shared().await?.namespace("reinvoked").await?;
    let second = Ampoule::start(&config("flyte-v1", &guests.injector("echo", "{}", "{}"))).await?;
    namespace.register_as(&second, &Registration { name: "second", ..Registration::default() }).await?;
    let first = Ampoule::start(&config("flyte-v1", K8S)).await?;
    namespace.register_as(&first, &Registration { name: "first", ..Registration::default() }).await?;
    let created = namespace.create_pod(&asking("task", [AS_ENV_VAR])).await?;
    let expected = json!([
        from_secret("_FSEC_USER-INFO_USER_SECRET", "user-info", "user_secret"),
        literal("FLYTE_SECRETS_ENV_PREFIX", "_FSEC_"),
        literal("ECHO", "user_secret"),
    ]);
    assert_eq!(created["spec"]["containers"][0]["env"], expected);
    let metrics = first.admin("/metrics").await?.text();
    for outcome in ["mutated", "unchanged"] {
        let line = format!("ampoule_admissions_total{{outcome=\"{outcome}\"}} 1\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
    Ok(())
}

/// The requests of a pod may come from our own writer as well as from the recorded vectors.
#[tokio::test]
async fn our_own_writer_produces_the_recorded_annotation() {
    assert_eq!(request("user-info", "user_secret", EnvVar, ""), AS_ENV_VAR);
    assert_eq!(request("user-info", "user_secret", File, ""), AS_FILE);
    assert_eq!(request("", "my_secret", EnvVar, "MY_SECRET"), MY_SECRET);
}
