//! Fields that the webhook does not manage: every field of a pod besides its secrets is unchanged.
//!
//! An API server drops unknown fields, so the test sends a field from a future version to the
//! webhook directly.

use ampoule_tests::{Ampoule, Review, asking, pod};
use anyhow::Result;
use serde_json::{Value, json};

use crate::support::{ANY, AS_ENV_VAR, AS_FILE, VOLUME, registered, v1};

/// The fields of a stored pod that the webhook does not manage.
fn without_secrets(pod: &Value) -> Value {
    let mut spec = pod["spec"].clone();
    let injected = |entry: &Value| {
        let name = entry["name"].as_str().unwrap_or_default();
        name.starts_with("FLYTE_SECRETS_") || name.starts_with("_FSEC_") || name == VOLUME
    };
    let strip = |list: &mut Value| {
        if let Some(entries) = list.as_array_mut() {
            entries.retain(|entry| !injected(entry));
        }
        // The API server omits an empty list.
        if list.as_array().is_some_and(Vec::is_empty) {
            *list = Value::Null;
        }
    };
    strip(&mut spec["volumes"]);
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            strip(&mut container["env"]);
            strip(&mut container["volumeMounts"]);
        }
    }
    spec
}

#[tokio::test]
async fn every_field_that_the_api_server_knows_survives() -> Result<()> {
    let (namespace, _ampoule) = registered("fields", &v1()).await?;
    let mut rich: Value = serde_json::from_str(include_str!("rich_pod.json"))?;
    rich["metadata"]["name"] = json!("plain");
    let plain = namespace.create_pod(&rich).await?;
    rich["metadata"] = asking("injected", [AS_ENV_VAR, ANY])["metadata"].clone();
    let injected = namespace.create_pod(&rich).await?;
    assert_eq!(injected["spec"]["volumes"].as_array().map(Vec::len), Some(5));
    assert_eq!(without_secrets(&injected), without_secrets(&plain));
    Ok(())
}

#[tokio::test]
async fn an_unknown_field_survives() -> Result<()> {
    let ampoule = Ampoule::start(&v1()).await?;
    let mut newer = asking("task", [AS_ENV_VAR, AS_FILE]);
    newer["spec"]["inventedIn2031"] = json!({ "deep": [1, 2.5, { "tilde~and/slash": null }] });
    newer["spec"]["containers"][0]["inventedToo"] = json!(["a"]);
    newer["spec"]["containers"][0]["env"] = json!([{ "name": "A", "valueFrom": { "inventedRef": { "x": 1 } } }]);
    newer["metadata"]["inventedThree"] = json!(u64::MAX);
    let review = Review::of(&newer, "default");
    let response = ampoule.review_once(&review).await?;
    assert!(response.allowed, "{}", response.message);
    let mut patched = review.object().clone();
    json_patch::patch(&mut patched, &response.patch)?;
    let invented = [
        "/spec/inventedIn2031",
        "/spec/containers/0/inventedToo",
        "/spec/containers/0/env/0",
        "/metadata/inventedThree",
    ];
    for field in invented {
        assert_eq!(patched.pointer(field), newer.pointer(field), "{field}");
    }
    assert_eq!(patched["spec"]["containers"][0]["env"].as_array().map(Vec::len), Some(5));
    let paths: Vec<_> = response.patch.iter().map(|operation| operation.path().to_string()).collect();
    assert!(paths.iter().all(|path| !path.contains("invented")), "{paths:?}");
    Ok(())
}

#[tokio::test]
async fn a_plain_pod_reviewed_directly_gets_no_patch() -> Result<()> {
    let ampoule = Ampoule::start(&v1()).await?;
    let response = ampoule.review_once(&Review::of(&pod("task"), "default")).await?;
    assert!(response.allowed && response.patch.0.is_empty());
    Ok(())
}
