//! `POST /api/v1/dry-run`: what the webhook would do with a pod of the caller, and on request what
//! the API server would do.
//!
//! Nothing is written, and no value is in the answer.

use ampoule_cluster::ClusterError;
use ampoule_core::{Pod, RequestReport, diff};
use ampoule_review::memory_bound;
use ampoule_telemetry::decisions::RecordedRequest;
use axum::http::{HeaderMap, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{hidden::hide_values, refusal::ApiRefusal, source::DryRunResult};

/// Bytes of a pod as JSON. The API server accepts no larger one.
pub(crate) const MAX_POD: usize = 1 << 20;
/// Bytes of a pod as YAML, whose aliases can repeat a part.
const MAX_YAML: usize = 128 << 10;

/// The result of a dry run.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DryRunView {
    /// Whether the webhook would allow the pod.
    allowed: bool,
    /// The result, as in the metric `ampoule_admissions_total`.
    outcome: String,
    /// The HTTP status code that the pod's creator would get.
    code: u16,
    /// The refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// The warnings for the pod's author.
    warnings: Vec<String>,
    /// The changes as a JSON patch. The values of variables are hidden.
    patch: Value,
    /// The requested secrets, up to the first that failed.
    requests: Vec<DryRunRequest>,
    /// The answer of the API server, if it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_server: Option<ApiServerView>,
}

/// A requested secret, with the texts for the pod's author.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct DryRunRequest {
    #[serde(flatten)]
    request: RecordedRequest,
    /// The text of each answer, in the order of `attempts`.
    answers: Vec<String>,
    /// The text of each rule, in the order of `rules`.
    findings: Vec<String>,
}

/// What the API server would do with the pod (`dryRun=All`).
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiServerView {
    /// Whether it would store the pod.
    created: bool,
    /// The status code of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    /// The text of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// The changes by all webhooks and defaults as a JSON patch. The values of variables are
    /// hidden.
    patch: Value,
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PodFormat {
    Json,
    Yaml,
}

// === impl PodFormat ===

impl PodFormat {
    /// Reads the type of the body. A page of another origin cannot send these types without asking.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self, ApiRefusal> {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match value.split(';').next().unwrap_or_default().trim() {
            "application/json" => Ok(Self::Json),
            "application/yaml" => Ok(Self::Yaml),
            _ => Err(ApiRefusal::ContentType),
        }
    }

    /// Returns a bound of the memory that the document takes.
    pub(crate) fn memory(self, body: &[u8]) -> Result<usize, ApiRefusal> {
        match self {
            Self::Json => memory_bound(body).map_err(|error| ApiRefusal::TooLarge(error.to_string())),
            // The parser bounds its nodes and aliases; the pod is measured again as JSON.
            Self::Yaml if body.len() <= MAX_YAML => Ok(body.len()),
            Self::Yaml => Err(ApiRefusal::TooLarge(format!("a pod as YAML has at most {MAX_YAML} bytes; send JSON"))),
        }
    }

    /// Parses a pod for this namespace. The error repeats nothing of the body.
    pub(crate) fn parse(self, body: &[u8], namespace: &str) -> Result<Pod, ApiRefusal> {
        let document: Value = match self {
            Self::Json => serde_json::from_slice(body).map_err(|error| {
                ApiRefusal::invalid(format!("not JSON at line {}, column {}", error.line(), error.column()))
            })?,
            Self::Yaml => parse_yaml(body)?,
        };
        let named = document.pointer("/metadata/namespace").and_then(Value::as_str);
        if named.is_some_and(|named| named != namespace) {
            let reason = "metadata.namespace: differs from the parameter namespace";
            return Err(ApiRefusal::invalid(reason.to_owned()));
        }
        Pod::parse(document).map_err(|error| ApiRefusal::invalid(error.to_string()))
    }
}

fn parse_yaml(body: &[u8]) -> Result<Value, ApiRefusal> {
    let invalid = || ApiRefusal::invalid("the body is not one YAML document".to_owned());
    let text = std::str::from_utf8(body).map_err(|_| invalid())?;
    let document: Value = serde_saphyr::from_str(text).map_err(|error| match error.location() {
        Some(place) => ApiRefusal::invalid(format!("not YAML at line {}, column {}", place.line(), place.column())),
        None => invalid(),
    })?;
    // An alias repeats its part: the document can be much larger than its text.
    let length = serde_json::to_vec(&document).map_or(usize::MAX, |json| json.len());
    if length > MAX_POD {
        return Err(ApiRefusal::TooLarge(format!("the pod has more than {MAX_POD} bytes as JSON")));
    }
    Ok(document)
}

// === impl DryRunView ===

impl DryRunView {
    pub(crate) fn new(result: DryRunResult) -> Self {
        let requests = result.requests.iter().map(DryRunRequest::new).collect();
        let outcome = result.outcome.as_str().to_owned();
        match result.decision {
            Ok(admitted) => Self {
                allowed: true,
                outcome,
                code: 200,
                message: None,
                warnings: admitted.warnings,
                patch: hide_values(&admitted.patch),
                requests,
                api_server: None,
            },
            Err(refusal) => Self {
                allowed: false,
                outcome,
                code: refusal.code.http(),
                message: Some(refusal.message),
                warnings: Vec::new(),
                patch: Value::Array(Vec::new()),
                requests,
                api_server: None,
            },
        }
    }
}

// === impl DryRunRequest ===

impl DryRunRequest {
    fn new(report: &RequestReport) -> Self {
        let request = RecordedRequest::new(report);
        let (attempts, rules) = (request.attempts.len(), request.rules.len());
        Self {
            request,
            answers: report.attempts.iter().take(attempts).map(|attempt| attempt.answer.to_string()).collect(),
            findings: report.findings.iter().take(rules).map(ToString::to_string).collect(),
        }
    }
}

// === impl ApiServerView ===

impl ApiServerView {
    /// Compares the pod that would be stored with the pod of the caller. A refusal of the pod is a
    /// result, and a refusal of the token is an error.
    pub(crate) fn new(pod: &Pod, answer: Result<Value, ClusterError>) -> Result<Self, ApiRefusal> {
        match answer {
            Ok(mut stored) => {
                if let Some(Value::Object(metadata)) = stored.get_mut("metadata") {
                    metadata.remove("managedFields");
                }
                let patch = hide_values(&diff(pod.as_json(), stored));
                Ok(Self { created: true, code: None, message: None, patch })
            }
            Err(ClusterError::Refused { code, message }) if code != 401 && code < 500 => {
                let patch = Value::Array(Vec::new());
                Ok(Self { created: false, code: Some(code), message: Some(message), patch })
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(content_type: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        headers
    }

    #[test]
    fn a_pod_is_json_or_yaml() {
        for (content_type, expected) in [
            ("application/json", Ok(PodFormat::Json)),
            ("application/json; charset=utf-8", Ok(PodFormat::Json)),
            ("application/yaml", Ok(PodFormat::Yaml)),
            ("text/plain", Err(ApiRefusal::ContentType)),
            ("application/x-www-form-urlencoded", Err(ApiRefusal::ContentType)),
            ("", Err(ApiRefusal::ContentType)),
        ] {
            assert_eq!(PodFormat::from_headers(&headers(content_type)), expected, "{content_type}");
        }
        assert_eq!(PodFormat::from_headers(&HeaderMap::new()), Err(ApiRefusal::ContentType));
        let pod =
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" }, "spec": { "containers": [] } });
        let yaml = "apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec: { containers: [] }\n";
        for (format, body) in [(PodFormat::Json, pod.to_string()), (PodFormat::Yaml, yaml.to_owned())] {
            assert_eq!(format.parse(body.as_bytes(), "team-a").unwrap().as_json(), &pod, "{format:?}");
        }
    }

    #[test]
    fn a_pod_that_is_not_valid_is_refused_without_its_content() {
        let bomb = (1..14).fold("a0: &a0 [canary, canary, canary]\n".to_owned(), |text, i| {
            format!("{text}a{i}: &a{i} [*a{0}, *a{0}, *a{0}]\n", i - 1)
        });
        let other = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"canary"},"spec":{"containers":[]}}"#;
        for (format, body, expected) in [
            (PodFormat::Json, "{canary", "not JSON at line 1, column 2"),
            (PodFormat::Json, "", "not JSON at line 1, column 0"),
            (PodFormat::Json, "[]", "the pod must be an object"),
            (PodFormat::Json, other, "metadata.namespace: differs from the parameter namespace"),
            (PodFormat::Yaml, "a: [canary", "not YAML at line 1, column 4"),
            (PodFormat::Yaml, "a: 1\n---\na: 2\n", "not YAML at line 3, column 1"),
        ] {
            let error = format.parse(body.as_bytes(), "team-a").unwrap_err().detail();
            assert_eq!(error, expected, "{body}");
        }
        let error = PodFormat::Yaml.parse(bomb.as_bytes(), "team-a").unwrap_err().detail();
        assert!(!error.contains("canary"), "{error}");
        let long = vec![b' '; MAX_YAML + 1];
        assert_eq!(PodFormat::Yaml.memory(&long).unwrap_err().status(), 413);
        let many = vec![b','; 200_000];
        assert_eq!(PodFormat::Json.memory(&many).unwrap_err().status(), 413);
    }

    #[test]
    fn the_answer_of_the_api_server_has_no_value_and_a_refusal_is_a_result() {
        let document =
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": { "containers": [{ "name": "a" }] } });
        let pod = Pod::parse(document.clone()).unwrap();
        let mut stored = document;
        stored["metadata"] = json!({ "managedFields": [1], "uid": "u" });
        stored["spec"]["containers"][0]["env"] = json!([{ "name": "A", "value": "canary" }]);
        let view = serde_json::to_value(ApiServerView::new(&pod, Ok(stored)).unwrap()).unwrap();
        assert_eq!(
            view,
            json!({ "created": true, "patch": [
                { "op": "add", "path": "/metadata/uid", "value": "u" },
                { "op": "add", "path": "/spec/containers/0/env", "value": [{ "name": "A", "value": "(hidden)" }] },
            ] })
        );
        let refused = |code| Err(ClusterError::Refused { code, message: "no".to_owned() });
        for code in [400, 403, 409, 422] {
            let view = ApiServerView::new(&pod, refused(code)).unwrap();
            assert_eq!((view.created, view.code, view.message.as_deref()), (false, Some(code), Some("no")));
        }
        for (code, expected) in [(401, 401), (500, 502), (503, 502)] {
            assert_eq!(ApiServerView::new(&pod, refused(code)).unwrap_err().status(), expected, "{code}");
        }
    }
}
