//! The webhook's routes: every malformed request and every kind of answer.
//!
//! The pipeline here has no injector, so a pod that requests a secret is refused; the core tests
//! the chain itself.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use ampoule_core::{OnFailure, PodMutator, Profile};
use ampoule_engine::{EngineConfig, PluginEngine};
use axum::{
    body::{Bytes, HttpBody},
    http::{Request, StatusCode},
};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use proptest::{collection::vec, prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::pipeline::Pipeline;

/// Flyte's annotation for group user-info, key user_secret.
const ASKS: &str = "m4zg54lqhiqce4ltmvzc11lomzxsectlmv3tuibcovzwk3s6onswg3tfoqrau";

mod slow_clients;

/// A body that never arrives.
struct Never;

impl HttpBody for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

fn router() -> Router {
    router_with(4, OnFailure::Deny, &Metrics::new())
}

fn router_with(max_admissions: usize, on_failure: OnFailure, metrics: &Metrics) -> Router {
    router_of(max_admissions, on_failure, metrics, MemoryPool::for_limit(None))
}

fn router_of(max_admissions: usize, on_failure: OnFailure, metrics: &Metrics, memory: Arc<MemoryPool>) -> Router {
    let engine = PluginEngine::new(EngineConfig { max_concurrent: 4, ..EngineConfig::default() }).unwrap();
    let mutator = PodMutator::new(Vec::new(), Profile::FlyteV1.conventions());
    let pipeline = Pipeline::new(Arc::new(engine), mutator, metrics.clone()).with_on_failure(on_failure);
    let pipeline = Arc::new(ServingPipeline::new(pipeline));
    super::router(pipeline, metrics.clone(), Traces::default(), memory, max_admissions)
}

async fn send(request: Request<Body>) -> (StatusCode, String) {
    let response = router().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn post(body: impl Into<Body>) -> (StatusCode, String) {
    let request = Request::post(WEBHOOK_PATH).header("content-type", "application/json").body(body.into()).unwrap();
    send(request).await
}

async fn review(request: &Value) -> Value {
    let body = json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request });
    let (status, answer) = post(body.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    serde_json::from_str(&answer).unwrap()
}

fn pod(annotations: &Value) -> Value {
    json!({ "metadata": { "annotations": annotations }, "spec": { "containers": [{ "name": "main" }] } })
}

#[tokio::test]
async fn answers_a_malformed_body_with_a_reason() {
    let cases: [(Vec<u8>, u16, &str); 6] = [
        (Vec::new(), 400, "the body is empty; an AdmissionReview is expected\n"),
        (b"canary".to_vec(), 400, "the body is not readable JSON: expected value at line 1 column 1\n"),
        (b"{\"kind\":".to_vec(), 400, "the body is not readable JSON: EOF while parsing a value at line 1 column 8\n"),
        (vec![b' '; 8 << 20], 413, "the body is larger than 7 MiB\n"),
        (vec![b'['; 90_000], 400, "the body is not readable JSON: recursion limit exceeded at line 1 column 128\n"),
        (vec![b'['; 6 << 20], 400, "the body holds more than 100000 values\n"),
    ];
    for (body, status, text) in cases {
        assert_eq!(post(body).await, (StatusCode::from_u16(status).unwrap(), text.to_owned()));
    }
}

#[tokio::test]
async fn requires_the_content_type_json() {
    let with = |content_type: Option<&str>| {
        let mut request = Request::post(WEBHOOK_PATH);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        send(request.body(Body::from("{}")).unwrap())
    };
    let not_a_review = "the body is not an AdmissionReview of admission.k8s.io/v1 or admission.k8s.io/v1beta1\n";
    for content_type in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        assert_eq!(
            with(Some(content_type)).await,
            (StatusCode::BAD_REQUEST, not_a_review.to_owned()),
            "{content_type}"
        );
    }
    for (content_type, said) in [
        (None, "not given"),
        (Some("text/plain"), r#""text/plain""#),
        (Some("application/jsonx"), r#""application/jsonx""#),
        (Some("application/yaml;a=b"), r#""application/yaml;a=b""#),
    ] {
        let expected = format!("the content type is {said}; application/json is expected\n");
        assert_eq!(with(content_type).await, (StatusCode::BAD_REQUEST, expected));
    }
    let (_, text) = with(Some(&"x".repeat(1000))).await;
    assert!(text.len() < 200, "{text}");
}

#[tokio::test]
async fn serves_one_path_and_one_method() {
    let get = send(Request::get(WEBHOOK_PATH).body(Body::empty()).unwrap()).await;
    assert_eq!(get, (StatusCode::METHOD_NOT_ALLOWED, "method not allowed; use POST\n".to_owned()));
    let other = send(Request::post("/mutate").body(Body::empty()).unwrap()).await;
    let expected = "not found; send reviews to /mutate--v1-pod\n";
    assert_eq!(other, (StatusCode::NOT_FOUND, expected.to_owned()));
}

#[tokio::test]
async fn a_pod_without_requests_is_unchanged() {
    let answer = review(&json!({ "uid": "7f", "operation": "CREATE", "object": pod(&json!({})) })).await;
    assert_eq!(answer["response"], json!({ "uid": "7f", "allowed": true }));
}

#[tokio::test]
async fn a_pod_without_a_matching_injector_is_refused() {
    let object = pod(&json!({ "flyte.secrets/s0": ASKS }));
    let answer = review(&json!({ "uid": "7f", "operation": "CREATE", "object": object })).await;
    let message = "secret user-info/user_secret (annotation flyte.secrets/s0, mount any) could not be injected: no injector \
                   is configured";
    let status = json!({ "status": "Failure", "message": message, "reason": "BadRequest", "code": 400 });
    let secrets =
        r#"[{"group":"user-info","key":"user_secret","injector":"","answer":"nobody-asked","verdict":"refused"}]"#;
    let expected =
        json!({ "uid": "7f", "allowed": false, "status": status, "auditAnnotations": { "secrets": secrets } });
    assert_eq!(answer["response"], expected);
}

#[tokio::test]
async fn an_object_that_is_not_a_pod_is_refused_in_a_review() {
    let answer = review(&json!({ "uid": "7f", "object": { "kind": "Service", "apiVersion": "v1" } })).await;
    assert_eq!(
        answer["response"]["status"]["message"],
        "expected kind Pod and apiVersion v1, got kind Service and apiVersion v1"
    );
    assert_eq!(answer["response"]["status"]["code"], 400);
}

#[tokio::test]
async fn a_deletion_is_allowed() {
    let answer = review(&json!({ "uid": "7f", "operation": "DELETE", "object": null })).await;
    assert_eq!(answer["response"], json!({ "uid": "7f", "allowed": true }));
}

#[tokio::test]
async fn a_body_that_does_not_arrive_times_out() {
    let request = Request::post(format!("{WEBHOOK_PATH}?timeout=100ms")).header("content-type", "application/json");
    let (status, text) = send(request.body(Body::new(Never)).unwrap()).await;
    assert_eq!((status, text.as_str()), (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time\n"));
}

/// The answer to a pod that requests a secret when no admission may run, and the metrics after it.
async fn rejected(on_failure: OnFailure) -> (Value, String) {
    let object = pod(&json!({ "flyte.secrets/s0": ASKS }));
    overloaded(on_failure, &json!({ "uid": "7f", "operation": "CREATE", "object": object })).await
}

/// The answer to a request when no admission may run, and the metrics after it.
async fn overloaded(on_failure: OnFailure, request: &Value) -> (Value, String) {
    let metrics = Metrics::new();
    let body = json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request });
    let request = Request::post(WEBHOOK_PATH)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = router_with(0, on_failure, &metrics).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    (answer["response"].clone(), metrics.text())
}

const TOO_MANY: &str = "too many concurrent admissions (limit 0, server.maxAdmissions); retry in a second, and add \
                        replicas if it persists";

#[tokio::test]
async fn a_pod_above_the_limit_is_rejected_with_a_retry_time() {
    let (response, metrics) = rejected(OnFailure::Deny).await;
    let details = json!({ "retryAfterSeconds": 1 });
    let status = json!({
        "status": "Failure", "message": TOO_MANY, "reason": "TooManyRequests", "code": 429, "details": details
    });
    assert_eq!(response, json!({ "uid": "7f", "allowed": false, "status": status }));
    assert!(metrics.contains("ampoule_admissions_total{outcome=\"overloaded\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_pod_above_the_limit_is_admitted_without_secrets_under_on_failure_admit() {
    let (response, metrics) = rejected(OnFailure::Admit).await;
    let warning = format!("admitted without its secrets (onFailure: admit): {TOO_MANY}");
    assert_eq!(response, json!({ "uid": "7f", "allowed": true, "warnings": [warning] }));
    assert!(metrics.contains("ampoule_admissions_total{outcome=\"admitted-without-secrets\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_request_that_needs_no_injector_is_answered_above_the_limit() {
    let asking = pod(&json!({ "flyte.secrets/s0": ASKS }));
    let no_pod = json!({ "kind": "Service", "apiVersion": "v1" });
    for (what, request, code, outcome) in [
        ("a deletion", json!({ "operation": "DELETE", "object": null }), 200, "out-of-scope"),
        ("an update", json!({ "operation": "UPDATE", "object": asking }), 200, "out-of-scope"),
        (
            "a subresource",
            json!({ "operation": "CREATE", "subResource": "exec", "object": asking }),
            200,
            "out-of-scope",
        ),
        (
            "a pod without requests",
            json!({ "operation": "CREATE", "object": pod(&json!({ "a": "b" })) }),
            200,
            "unchanged",
        ),
        ("not a pod", json!({ "operation": "CREATE", "object": no_pod }), 400, "refused"),
    ] {
        for on_failure in [OnFailure::Deny, OnFailure::Admit] {
            let mut request = request.clone();
            request["uid"] = "7f".into();
            let (response, metrics) = overloaded(on_failure, &request).await;
            match code {
                200 => assert_eq!(response, json!({ "uid": "7f", "allowed": true }), "{what}"),
                _ => assert_eq!(response["status"]["code"], code, "{what}"),
            }
            let line = format!("ampoule_admissions_total{{outcome=\"{outcome}\"}} 1");
            assert!(metrics.lines().any(|found| found == line), "{what}: {metrics}");
        }
    }
}

#[test]
fn a_body_above_the_memory_limit_gets_a_retry_time() {
    for (rejection, closes) in [(Rejection::Crowded, false), (Rejection::Evicted, true)] {
        let response = rejection.into_response();
        assert_eq!(
            (response.status(), &response.headers()[header::RETRY_AFTER]),
            (StatusCode::SERVICE_UNAVAILABLE, &HeaderValue::from_static("1"))
        );
        assert_eq!(response.headers().contains_key(header::CONNECTION), closes);
    }
}

/// Any JSON, with a bias to the keys of a review.
fn any_json() -> impl Strategy<Value = Value> {
    let keys = prop_oneof![
        Just("metadata"),
        Just("annotations"),
        Just("spec"),
        Just("containers"),
        Just("env"),
        Just("name"),
        Just("kind"),
        Just("volumes"),
        Just("labels"),
        Just("flyte.secrets/s0"),
        Just("initContainers"),
        Just("x"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        Just(Value::from(ASKS)),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((keys.clone(), inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

/// A request whose fields are mostly valid, and otherwise any JSON.
fn any_request() -> impl Strategy<Value = Value> {
    let uid = prop_oneof![9 => Just(json!("7f")), 1 => any_json()];
    let operation = prop_oneof![6 => Just(json!("CREATE")), 2 => Just(json!("DELETE")), 1 => any_json()];
    let sub_resource = prop_oneof![6 => Just(Value::Null), 2 => Just(json!("exec")), 1 => any_json()];
    let text = || prop_oneof![9 => Just(json!("team-a")), 1 => any_json()];
    (uid, operation, sub_resource, text(), text(), any_json()).prop_map(
        |(uid, operation, sub_resource, namespace, name, object)| {
            json!({
                "uid": uid,
                "operation": operation,
                "subResource": sub_resource,
                "namespace": namespace,
                "name": name,
                "object": object,
            })
        },
    )
}

/// Whether the webhook can read every field of the request that it needs.
fn has_readable_fields(request: &Value) -> bool {
    let is_text = |key: &str| request[key].is_null() || request[key].is_string();
    let optional = ["operation", "subResource", "namespace", "name"];
    request["uid"].as_str().is_some_and(|uid| !uid.is_empty()) && optional.into_iter().all(is_text)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_get_an_answer(bytes in vec(any::<u8>(), 0..2048)) {
        let (status, _) = block_on(post(bytes));
        prop_assert_eq!(status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn any_json_gets_an_answer(json in any_json()) {
        let (status, _) = block_on(post(json.to_string()));
        prop_assert_eq!(status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn any_object_under_review_gets_a_review(object in any_json()) {
        let answer = block_on(review(&json!({ "uid": "7f", "operation": "CREATE", "object": object })));
        prop_assert_eq!(&answer["response"]["uid"], "7f");
        prop_assert!(answer["response"]["allowed"].is_boolean());
    }

    #[test]
    fn a_request_gets_a_review_exactly_if_its_fields_are_readable(request in any_request()) {
        let body = json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request });
        let (status, text) = block_on(post(body.to_string()));
        if !has_readable_fields(&request) {
            prop_assert_eq!(status, StatusCode::BAD_REQUEST, "{}", text);
            return Ok(());
        }
        prop_assert_eq!(status, StatusCode::OK, "{}", text);
        let answer: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&answer["response"]["uid"], &request["uid"]);
        prop_assert!(answer["response"]["allowed"].is_boolean());
    }
}

#[test]
fn the_generator_of_requests_reaches_answers_and_rejections() {
    let mut runner = TestRunner::deterministic();
    let requests: Vec<_> = (0..100).map(|_| any_request().new_tree(&mut runner).unwrap().current()).collect();
    let readable = requests.iter().filter(|request| has_readable_fields(request));
    let creations = readable.clone().filter(|request| request["operation"] == "CREATE").count();
    let readable = readable.count();
    assert!(creations >= 5 && readable > creations && readable < 95, "{creations} of {readable} of 100");
}

#[tokio::test]
async fn an_answer_counts_in_the_memory_until_it_is_written() {
    let memory = MemoryPool::for_limit(None);
    let router = router_of(4, OnFailure::Deny, &Metrics::new(), Arc::clone(&memory));
    let request = json!({ "uid": "1", "operation": "CREATE", "object": pod(&json!({})) });
    let body =
        json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request }).to_string();
    let request =
        Request::post(WEBHOOK_PATH).header("content-type", "application/json").body(Body::from(body)).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let held = memory.used();
    let answer = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(held, answer.len(), "the answer, and no longer the request");
    drop(answer);
    assert_eq!(memory.used(), 0);
}
