//! The pods of the demo, the reviews that an API server sends for them, and the application of the
//! answer.
//!
//! The annotations of the second pod are those of Flyte's SDK: a secret's descriptor in text
//! format, encoded in Flyte's base32.

use anyhow::{Context, Result, bail};
use data_encoding::BASE64;
use serde_json::{Value, json};

/// A pod of the demo.
pub(super) struct Example {
    /// The author of the requests, as in a heading.
    pub(super) author: &'static str,
    /// The profile of the server.
    pub(super) profile: &'static str,
    /// The requests: their place in the pod, and what they mean.
    pub(super) requests: &'static [(&'static str, &'static str)],
    /// The user that creates the pod.
    user: &'static str,
    pub(super) pod: Value,
}

/// `group: "user-info" key: "user_secret" mount_requirement: ENV_VAR`
const AS_ENV_VAR: &str =
    "m4zg54lqhiqce4ltmvzc11lomzxsectlmv3tuibcovzwk3s6onswg3tfoqrau2lpovxhix2smvyxk1lsmvwwk2tuhiqektswl4lecuqk";
/// `group: "user-info" key: "user_secret" mount_requirement: FILE`
const AS_FILE: &str =
    "m4zg54lqhiqce4ltmvzc11lomzxsectlmv3tuibcovzwk3s6onswg3tfoqrau2lpovxhix2smvyxk1lsmvwwk2tuhiqemskmiufa";

// === impl Example ===

impl Example {
    /// A shortened web service, without Flyte.
    pub(super) fn plain() -> Self {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "web",
                "namespace": "shop",
                "labels": { "ampoule.dev/inject": "true" },
                "annotations": { "ampoule.dev/secrets": "- { group: tls, key: ca.crt, path: /etc/app/ }\n" }
            },
            "spec": {
                "containers": [{
                    "name": "web",
                    "image": "registry.example.org/shop/web:1.4",
                    "env": [
                        { "name": "DB_PASSWORD", "value": "secret://database/password" },
                        { "name": "DB_URL", "value": "postgres://shop:$(DB_PASSWORD)@db/shop" }
                    ]
                }]
            }
        });
        Self {
            author: "as written by the pod's author",
            profile: "plain",
            requests: &[
                ("ampoule.dev/secrets", "key `ca.crt` of the Secret `tls`, as the file /etc/app/ca.crt"),
                ("variable DB_PASSWORD", "key `password` of the Secret `database`, at its place in the list"),
            ],
            user: "system:serviceaccount:kube-system:replicaset-controller",
            pod,
        }
    }

    /// A shortened pod of Flyte.
    pub(super) fn flyte() -> Self {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "train-model",
                "namespace": "flytesnacks-development",
                "labels": { "inject-flyte-secrets": "true" },
                "annotations": { "flyte.secrets/s0": AS_ENV_VAR, "flyte.secrets/s1": AS_FILE }
            },
            "spec": {
                "containers": [{
                    "name": "primary",
                    "image": "ghcr.io/flyteorg/flytekit:py3.12-latest",
                    "args": ["pyflyte-execute", "--inputs", "s3://my-bucket/inputs.pb"],
                    "env": [{ "name": "FLYTE_INTERNAL_PROJECT", "value": "flytesnacks" }]
                }]
            }
        });
        Self {
            author: "as written by Flyte's SDK",
            profile: "flyte-v1",
            requests: &[
                ("flyte.secrets/s0", "key `user_secret` of group `user-info`, as an environment variable"),
                ("flyte.secrets/s1", "the same, as a file"),
            ],
            user: "system:serviceaccount:flyte:flytepropeller",
            pod,
        }
    }

    /// Returns the review that an API server sends for the creation of the pod.
    pub(super) fn review(&self) -> Value {
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
                "kind": { "group": "", "version": "v1", "kind": "Pod" },
                "resource": { "group": "", "version": "v1", "resource": "pods" },
                "requestKind": { "group": "", "version": "v1", "kind": "Pod" },
                "requestResource": { "group": "", "version": "v1", "resource": "pods" },
                "name": self.pod["metadata"]["name"],
                "namespace": self.pod["metadata"]["namespace"],
                "operation": "CREATE",
                "userInfo": { "username": self.user },
                "object": self.pod,
                "oldObject": null,
                "dryRun": false,
                "options": { "apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions" }
            }
        })
    }
}

/// Applies the answer and returns the pod that the API server would store.
///
/// # Errors
/// The answer is not a review, rejects the pod, or contains a patch that does not apply.
pub(super) fn apply(answer: &[u8], pod: &Value) -> Result<Value> {
    let answer: Value = serde_json::from_slice(answer).context("the answer is not JSON")?;
    let response = &answer["response"];
    if response["allowed"] != true {
        bail!("the webhook rejected the pod: {}", response["status"]["message"].as_str().unwrap_or("no reason given"));
    }
    let patch = response["patch"].as_str().context("the webhook allowed the pod without a patch")?;
    let patch = BASE64.decode(patch.as_bytes()).context("the patch is not base64")?;
    let patch: json_patch::Patch = serde_json::from_slice(&patch).context("the patch is not a JSON patch")?;
    let mut after = pod.clone();
    json_patch::patch(&mut after, &patch).context("the patch does not apply to the pod")?;
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(response: &Value, expected: &Result<Value, &str>) {
        let answer = serde_json::to_vec(&json!({ "response": response })).unwrap();
        let applied = apply(&answer, &json!({ "kind": "Pod" })).map_err(|error| error.to_string());
        assert_eq!(applied, expected.clone().map_err(str::to_owned));
    }

    #[test]
    fn applies_the_answer_like_an_api_server() {
        let patch = BASE64.encode(br#"[{"op":"add","path":"/spec","value":1}]"#);
        check(&json!({ "allowed": true, "patch": patch }), &Ok(json!({ "kind": "Pod", "spec": 1 })));
        let misfit = BASE64.encode(br#"[{"op":"remove","path":"/spec"}]"#);
        check(&json!({ "allowed": true, "patch": misfit }), &Err("the patch does not apply to the pod"));
        check(&json!({ "allowed": true }), &Err("the webhook allowed the pod without a patch"));
        check(&json!({ "allowed": false, "status": { "message": "why" } }), &Err("the webhook rejected the pod: why"));
        check(&json!({}), &Err("the webhook rejected the pod: no reason given"));
    }
}
