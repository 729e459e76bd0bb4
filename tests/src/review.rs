//! `AdmissionReview` as the API server sends it, built and parsed independently: the tests must not
//! share the code that they test.
//!
//! [`Review`] is a request, [`Response`] its answer.

use anyhow::{Context, Result, ensure};
use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::Answer;

/// A review of a pod that is about to be created.
pub struct Review(Value);

/// The answer to a review.
#[derive(Clone, Debug)]
pub struct Response {
    /// `response.uid`.
    pub uid: String,
    /// `response.allowed`.
    pub allowed: bool,
    /// `response.status.code`; 0 if it is absent.
    pub code: u64,
    /// `response.status.message`; empty if it is absent.
    pub message: String,
    /// `response.warnings`.
    pub warnings: Vec<String>,
    /// The decoded patch; empty if it is absent.
    pub patch: json_patch::Patch,
}

// === impl Review ===

impl Review {
    /// A review in `admission.k8s.io/v1`, as the API server sends it for a pod in a namespace.
    #[must_use]
    pub fn of(pod: &Value, namespace: &str) -> Self {
        let mut object = pod.clone();
        object["metadata"]["namespace"] = json!(namespace);
        // Objects that the API server reads from its store lack both fields.
        object["apiVersion"] = json!("v1");
        object["kind"] = json!("Pod");
        Self::as_is(&object, namespace)
    }

    /// A review of any object.
    #[must_use]
    pub fn as_is(object: &Value, namespace: &str) -> Self {
        let resource = json!({ "group": "", "version": "v1", "resource": "pods" });
        let kind = json!({ "group": "", "version": "v1", "kind": "Pod" });
        Self(json!({
            "kind": "AdmissionReview",
            "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
                "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
                "name": object["metadata"]["name"], "namespace": namespace, "operation": "CREATE",
                "userInfo": { "username": "admin", "groups": ["system:masters"] },
                "object": object, "oldObject": null, "dryRun": false, "options": {
                    "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"
                }
            }
        }))
    }

    /// A review of the update that adds these ephemeral containers to a stored pod.
    #[must_use]
    pub fn of_debugging(pod: &Value, namespace: &str, added: &[Value]) -> Self {
        let Self(mut review) = Self::of(pod, namespace);
        let request = &mut review["request"];
        request["operation"] = json!("UPDATE");
        request["subResource"] = json!("ephemeralcontainers");
        request["oldObject"] = request["object"].clone();
        let spec = &mut request["object"]["spec"];
        let stored = spec["ephemeralContainers"].as_array().cloned().unwrap_or_default();
        spec["ephemeralContainers"] = json!([stored, added.to_vec()].concat());
        Self(review)
    }

    /// The same review as a dry run.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.0["request"]["dryRun"] = true.into();
        self
    }

    /// The request's `uid`.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.0["request"]["uid"].as_str().unwrap_or_default()
    }

    /// The object under review.
    #[must_use]
    pub fn object(&self) -> &Value {
        &self.0["request"]["object"]
    }

    /// The bytes to send.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }
}

// === impl Response ===

impl Response {
    /// Parses the answer to a review.
    ///
    /// # Errors
    ///
    /// If it is not HTTP 200 with a review that the API server would accept.
    pub fn read(answer: &Answer) -> Result<Self> {
        ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
        ensure!(answer.content_type == "application/json", "content type {:?}", answer.content_type);
        let review: Value = serde_json::from_slice(&answer.body)?;
        ensure!(review["kind"] == "AdmissionReview", "not a review: {review}");
        let response = &review["response"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let patch = match &response["patch"] {
            Value::Null => json_patch::Patch::default(),
            patch => {
                ensure!(response["patchType"] == "JSONPatch", "patch type {}", response["patchType"]);
                serde_json::from_slice(
                    &BASE64.decode(patch.as_str().context("the patch is not a string")?.as_bytes())?,
                )?
            }
        };
        Ok(Self {
            uid: text(&response["uid"]),
            allowed: response["allowed"].as_bool().context("`allowed` is not a boolean")?,
            code: response["status"]["code"].as_u64().unwrap_or_default(),
            message: text(&response["status"]["message"]),
            warnings: response["warnings"].as_array().into_iter().flatten().map(text).collect(),
            patch,
        })
    }
}
