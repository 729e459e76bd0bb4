//! Tests of the validation of a pod, and of the view that a plugin gets.
//!
//! Unknown fields are valid.

use ampoule_core::{ContainerKind, Pod};
use serde_json::{Value, json};

#[track_caller]
fn refuses(value: Value, expected: &str) {
    assert_eq!(Pod::parse(value).unwrap_err().to_string(), expected);
}

#[test]
fn an_invalid_pod_is_refused_with_its_field() {
    refuses(json!([]), "the pod must be an object");
    refuses(
        json!({ "kind": "Deployment", "apiVersion": "apps/v1" }),
        "expected kind Pod and apiVersion v1, got kind Deployment and apiVersion apps/v1",
    );
    refuses(json!({ "apiVersion": "v2" }), "expected kind Pod and apiVersion v1, got kind (not set) and apiVersion v2");
    refuses(json!({}), "spec must be an object");
    refuses(json!({ "spec": {} }), "spec.containers must be a list");
    refuses(json!({ "metadata": 1, "spec": { "containers": [] } }), "metadata must be an object");
    refuses(
        json!({ "metadata": { "annotations": [] }, "spec": { "containers": [] } }),
        "metadata.annotations must be an object",
    );
    refuses(json!({ "spec": { "containers": [1] } }), "spec.containers[0] must be an object");
    refuses(json!({ "spec": { "containers": [], "volumes": {} } }), "spec.volumes must be a list");
    refuses(
        json!({
            "spec": { "containers": [{ "env": {} }] },
        }),
        "spec.containers[0].env must be a list",
    );
    refuses(
        json!({
            "spec": { "containers": [{ "env": [1] }] },
        }),
        "spec.containers[0].env[0] must be an object",
    );
}

#[test]
fn a_view_contains_names_and_no_values() {
    let pod = Pod::parse(json!({
        "metadata": {
            "generateName": "job-", "labels": { "b": "2", "a": "1" },
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "canary",
                "flyte.secrets/s0": "canary", "ampoule.dev/secrets": "canary", "x": "y",
            },
        },
        "spec": {
            "serviceAccountName": "sa",
            "initContainers": [
                { "name": "i", "env": [{ "name": "A", "value": "canary" }] },
                { "name": "s", "restartPolicy": "Always" },
            ],
            "containers": [{ "name": "main", "command": ["canary"] }],
        },
    }));
    let view = pod.unwrap().view("team-a");
    assert!(!format!("{view:?}").contains("canary"));
    assert_eq!((view.namespace.as_str(), view.name.as_str(), view.service_account.as_str()), ("team-a", "job-", "sa"));
    assert_eq!(view.annotations, [("x".into(), "y".into())]);
    assert_eq!(view.labels, [("a".into(), "1".into()), ("b".into(), "2".into())]);
    let containers: Vec<_> =
        view.containers.iter().map(|container| (container.name.as_str(), container.kind)).collect();
    assert_eq!(containers, [("i", ContainerKind::Init), ("s", ContainerKind::Sidecar), ("main", ContainerKind::Main)]);
}
