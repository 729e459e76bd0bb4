//! Ampoule's own annotation through a real API server: one label, one annotation, no encoding.
//!
//! The registration has one entry per label, as in `deploy/kustomize/base`.

use ampoule_tests::pod;
use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::support::{AS_ENV_VAR, registered, v1, v2};

fn labelled(name: &str, labels: Value, annotations: Value) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["labels"] = labels;
    pod["metadata"]["annotations"] = annotations;
    pod
}

fn asking(name: &str, list: &str) -> Value {
    labelled(name, json!({ "ampoule.dev/inject": "true" }), json!({ "ampoule.dev/secrets": list }))
}

fn env_names(pod: &Value) -> Vec<&str> {
    let env = pod["spec"]["containers"][0]["env"].as_array();
    env.into_iter().flatten().filter_map(|entry| entry["name"].as_str()).collect()
}

#[tokio::test]
async fn a_pod_gets_the_secrets_of_its_list() -> Result<()> {
    let (namespace, _ampoule) = registered("people", &v2()).await?;
    let list = "- {group: openai, key: api-key}\n- {group: tls, key: ca.crt, file: true, env: CA}\n";
    let created = namespace.create_pod(&asking("task", list)).await?;
    let env = created["spec"]["containers"][0]["env"].as_array().context("the container has variables")?;
    let key = json!({ "name": "openai", "key": "api-key", "optional": true });
    assert!(env.contains(&json!({ "name": "OPENAI_API_KEY", "valueFrom": { "secretKeyRef": key } })), "{env:?}");
    assert!(env.contains(&json!({ "name": "CA", "value": "/etc/flyte/secrets/tls/ca.crt" })), "{env:?}");
    let mounts = &created["spec"]["containers"][0]["volumeMounts"];
    assert_eq!(mounts[0]["mountPath"], "/etc/flyte/secrets/tls");
    Ok(())
}

#[tokio::test]
async fn a_pod_with_both_labels_and_both_annotations_is_reviewed_once() -> Result<()> {
    let (namespace, ampoule) = registered("people-both", &v1()).await?;
    let labels = json!({ "ampoule.dev/inject": "true", "inject-flyte-secrets": "true" });
    let annotations = json!({ "ampoule.dev/secrets": "- {key: k, group: g}", "flyte.secrets/s0": AS_ENV_VAR });
    let created = namespace.create_pod(&labelled("task", labels, annotations)).await?;
    assert_eq!(
        env_names(&created),
        ["_FSEC_USER-INFO_USER_SECRET", "FLYTE_SECRETS_ENV_PREFIX", "_FSEC_G_K", "G_K"],
        "Flyte's come first"
    );
    let metrics = ampoule.admin("/metrics").await?.text();
    let total = |outcome: &str| format!("ampoule_admissions_total{{outcome=\"{outcome}\"}}");
    assert!(metrics.contains(&format!("{} 1\n", total("mutated"))), "{metrics}");
    assert!(metrics.contains(&format!("{} 0\n", total("unchanged"))), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn a_pod_with_another_label_value_is_not_reviewed() -> Result<()> {
    let (namespace, _ampoule) = registered("people-off", &v1()).await?;
    let labels = json!({ "ampoule.dev/inject": "false" });
    let created =
        namespace.create_pod(&labelled("task", labels, json!({ "ampoule.dev/secrets": "- {key: k}" }))).await?;
    assert_eq!(created["spec"]["containers"][0]["env"], json!(null));
    Ok(())
}

#[tokio::test]
async fn a_bad_entry_is_refused_with_its_index() -> Result<()> {
    let (namespace, _ampoule) = registered("people-bad", &v1()).await?;
    let list = "- {group: openai, key: api-key}\n- {group: openai, key: api-key, env: my=var}\n";
    let refusal = namespace.try_create_pod(&asking("task", list)).await?.expect_err("a refusal");
    let message = "annotation ampoule.dev/secrets[1].env: \"my=var\" must have printable ASCII characters other than = \
                   only";
    assert_eq!((refusal.code, refusal.by("people.secrets")), (400, Some(message)), "{refusal}");
    assert!(!namespace.has_pod("task").await?);
    Ok(())
}
