//! Pods as their authors write them, and the annotations that request secrets.
//!
//! All values are JSON: the tests check the transmitted data, not its interpretation by a typed
//! client.

use ampoule_core::{MountRequirement, SecretRequest};
use serde_json::{Map, Value, json};

/// The value of an annotation that requests a secret, as Flyte's SDK writes it.
#[must_use]
pub fn annotation(group: &str, key: &str, mount: MountRequirement) -> String {
    SecretRequest { group: group.to_owned(), key: key.to_owned(), mount, ..SecretRequest::default() }
        .to_flyte_annotation()
}

/// Annotations `flyte.secrets/s0`, `flyte.secrets/s1`, … with these values.
#[must_use]
pub fn requests<S: Into<String>>(values: impl IntoIterator<Item = S>) -> Value {
    let numbered =
        values.into_iter().enumerate().map(|(i, value)| (format!("flyte.secrets/s{i}"), json!(value.into())));
    Value::Object(numbered.collect::<Map<_, _>>())
}

/// A pod with one container and no secret.
#[must_use]
pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name },
        "spec": { "containers": [{ "name": "main", "image": "example.org/task:1" }] }
    })
}

/// A labelled pod that requests these secrets.
#[must_use]
pub fn asking<S: Into<String>>(name: &str, values: impl IntoIterator<Item = S>) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["labels"] = json!({ "inject-flyte-secrets": "true" });
    pod["metadata"]["annotations"] = requests(values);
    pod
}
