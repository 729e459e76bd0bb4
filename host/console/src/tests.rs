//! Tests of the API with an API server and a process of their own: who may see what, the answers,
//! and the limits.
//!
//! `tests/e2e/console.rs` repeats the attacks with a real API server.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use ampoule_cluster::{ClusterError, caller::AskedAction};
use ampoule_core::{
    AdmissionMemory, AdmissionOutcome, Admitted, Pod, Refusal, RefusalCode, RequestOptions, RequestUser,
    RequestedSecret, Requester, SecretRequest, ShadowComparison, ShadowResult, UnlimitedMemory,
};
use ampoule_telemetry::{
    decisions::{DecisionLog, RecordedDifferences},
    record::AdmissionRecord,
};
use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request},
};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    ApiServer, CallerApi, CallerToken, ConsoleSource, ConsoleState, DryRunResult, OverviewView, PluginView, PolicyView,
    document, router,
};

const MISSING: &str = r#"{"detail":"Authentication credentials required"}"#;
const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[]}}"#;

/// An API server with three tokens: `admin` may do everything, `dev` what concerns pods in
/// `team-a`, and `slow` gets no answer. `gone` finds it unreachable, `broken` gets a status of 500.
#[derive(Default)]
struct TestServer {
    asked: Mutex<Vec<String>>,
}

struct TestCaller(String, Arc<TestServer>);

struct TestSource;

fn refused(code: u16, message: &str) -> ClusterError {
    ClusterError::Refused { code, message: message.to_owned() }
}

impl ApiServer for Arc<TestServer> {
    fn act_as(&self, token: CallerToken) -> Result<Box<dyn CallerApi>, ClusterError> {
        Ok(Box::new(TestCaller(token.expose().to_owned(), Arc::clone(self))))
    }
}

#[async_trait]
impl CallerApi for TestCaller {
    async fn user(&self) -> Result<Option<RequestUser>, ClusterError> {
        let groups = vec!["system:authenticated".to_owned()];
        let is_named = self.0 != "old";
        Ok(is_named.then(|| RequestUser { username: self.0.clone(), groups, ..RequestUser::default() }))
    }

    async fn may(&self, action: &AskedAction<'_>) -> Result<bool, ClusterError> {
        let AskedAction { verb, group, resource, namespace } = action;
        let asked = format!("{}: {verb} {resource}.{group} {}", self.0, namespace.unwrap_or("*"));
        self.1.asked.lock().unwrap().push(asked);
        match self.0.as_str() {
            "admin" | "old" => Ok(true),
            "dev" => Ok(*resource == "pods" && *namespace == Some("team-a")),
            "denied" => Err(refused(403, "users \"denied\" is forbidden")),
            "gone" => Err(ClusterError::Unreachable("https://10.0.0.1:6443".to_owned())),
            "broken" => Err(refused(500, "etcd")),
            "slow" => std::future::pending().await,
            _ => Err(refused(401, "Unauthorized")),
        }
    }

    async fn dry_run_pod(&self, namespace: &str, pod: &Value) -> Result<Value, ClusterError> {
        let mut stored = pod.clone();
        stored["metadata"]["namespace"] = json!(namespace);
        Ok(stored)
    }
}

#[async_trait]
impl ConsoleSource for TestSource {
    fn overview(&self) -> OverviewView {
        OverviewView {
            version: "0.1.0".to_owned(),
            ready: true,
            readiness: Vec::new(),
            uptime_seconds: 1,
            admissions: Vec::new(),
            latency: crate::LatencyView::default(),
            attention: Vec::new(),
        }
    }

    fn plugins(&self) -> Vec<PluginView> {
        Vec::new()
    }

    fn configuration(&self) -> Value {
        json!({ "profile": "plain" })
    }

    fn policy(&self) -> PolicyView {
        PolicyView::default()
    }

    fn memory(&self) -> Arc<dyn AdmissionMemory> {
        Arc::new(UnlimitedMemory)
    }

    async fn try_pod(&self, pod: Pod, _: &str, requester: Requester, _: Arc<dyn AdmissionMemory>) -> DryRunResult {
        assert!(!pod.as_json()["metadata"]["name"].is_null(), "a defect of this test");
        let patch =
            json!([{ "op": "add", "path": "/spec/containers/0/env", "value": [{ "name": "A", "value": "canary" }] }]);
        let username = match requester {
            Requester::User(user) => user.username,
            Requester::Unreadable => "no user".to_owned(),
        };
        let decision = match username.as_str() {
            "admin" => Ok(Admitted { patch: serde_json::from_value(patch).unwrap(), warnings: vec!["w".to_owned()] }),
            _ => Err(Refusal { code: RefusalCode::Forbidden, message: username, retry_after: None }),
        };
        DryRunResult { outcome: AdmissionOutcome::Mutated, decision, requests: Vec::new() }
    }
}

fn requested() -> RequestedSecret {
    RequestedSecret {
        annotation: "ampoule.dev/secrets[0]".to_owned(),
        request: SecretRequest::default(),
        options: RequestOptions::default(),
    }
}

fn console() -> (Router, Arc<TestServer>) {
    let (server, log) = (Arc::new(TestServer::default()), DecisionLog::default());
    for namespace in ["team-a", "team-b"] {
        log.record(&AdmissionRecord {
            uid: "u",
            namespace,
            name: "<script>alert(1)</script>",
            service_account: "",
            dry_run: false,
            outcome: AdmissionOutcome::Mutated,
            code: 200,
            requests: &[],
            elapsed: Duration::from_micros(90),
        });
        let mut differences = RecordedDifferences::of_pod("u", namespace, "<script>alert(1)</script>", false);
        differences.compared(&ShadowComparison {
            requested: Arc::new(requested()),
            injector: "next".to_owned(),
            result: ShadowResult::Different,
            served: "injected",
            answer: "not-found",
            edits: Vec::new(),
        });
        log.compared(differences);
    }
    let state = ConsoleState::new(Arc::new(TestSource), Arc::new(Arc::clone(&server)), log);
    (router(state), server)
}

async fn send(router: &Router, request: Request<Body>) -> (u16, HeaderMap, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(router: &Router, path: &str, token: &str) -> (u16, String) {
    let request = Request::get(path).header("authorization", format!("Bearer {token}"));
    let (status, _, body) = send(router, request.body(Body::empty()).unwrap()).await;
    (status, body)
}

async fn post(router: &Router, path: &str, token: &str, body: impl Into<Body>) -> (u16, String) {
    let request = Request::post(path).header("authorization", format!("Bearer {token}"));
    let request = request.header("content-type", "application/json").body(body.into()).unwrap();
    let (status, _, body) = send(router, request).await;
    (status, body)
}

#[tokio::test]
async fn a_request_without_a_token_gets_the_bytes_of_flytes_middleware() {
    let (router, server) = console();
    for (method, path, header) in [
        ("GET", "/api/v1/plugins", ("accept", "*/*")),
        ("GET", "/api/v1/plugins", ("cookie", "token=admin")),
        ("GET", "/api/v1/plugins?token=admin", ("accept", "*/*")),
        ("GET", "/api/v1/plugins", ("authorization", "Basic YWRtaW46YWRtaW4=")),
        ("GET", "/api/v1/plugins", ("impersonate-user", "admin")),
        ("GET", "/api/v1/plugins", ("x-forwarded-access-token", "admin")),
        ("GET", "/api/v1/openapi.json/", ("accept", "*/*")),
        ("GET", "/api/v1/OpenAPI.json", ("accept", "*/*")),
        ("GET", "//api/v1/openapi.json", ("accept", "*/*")),
        ("GET", "/api/v1/openapi.json/../plugins", ("accept", "*/*")),
        ("GET", "/nothing", ("accept", "*/*")),
        ("GET", "/static/", ("accept", "*/*")),
        ("GET", "/static/../api/v1/plugins", ("accept", "*/*")),
        ("GET", "/static/console.js/x", ("accept", "*/*")),
        ("OPTIONS", "/api/v1/plugins", ("origin", "https://evil.example")),
        ("POST", "/api/v1/dry-run?namespace=team-a", ("content-type", "application/json")),
    ] {
        let request = Request::builder().method(method).uri(path).header(header.0, header.1);
        let (status, headers, body) = send(&router, request.body(Body::from(POD)).unwrap()).await;
        assert_eq!((status, body.as_str()), (401, MISSING), "{method} {path} {header:?}");
        assert_eq!(headers["www-authenticate"], "Bearer", "{method} {path}");
        assert!(headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{headers:?}");
    }
    assert!(server.asked.lock().unwrap().is_empty(), "the API server is asked with a token only");
}

#[tokio::test]
async fn the_api_server_decides_what_a_caller_sees() {
    let (router, server) = console();
    let process = "mutatingwebhookconfigurations.admissionregistration.k8s.io *";
    for (path, status, asked) in [
        ("/api/v1/overview", 403, format!("dev: get {process}")),
        ("/api/v1/plugins", 403, format!("dev: get {process}")),
        ("/api/v1/configuration", 403, format!("dev: get {process}")),
        ("/api/v1/policy", 403, format!("dev: get {process}")),
        ("/api/v1/decisions", 403, "dev: get pods. *".to_owned()),
        ("/api/v1/decisions?namespace=team-a", 200, "dev: get pods. team-a".to_owned()),
        ("/api/v1/decisions?namespace=team-b", 403, "dev: get pods. team-b".to_owned()),
        ("/api/v1/differences", 403, "dev: get pods. *".to_owned()),
        ("/api/v1/differences?namespace=team-a", 200, "dev: get pods. team-a".to_owned()),
        ("/api/v1/differences?namespace=team-b", 403, "dev: get pods. team-b".to_owned()),
    ] {
        assert_eq!(get(&router, path, "dev").await.0, status, "{path}");
        assert_eq!(std::mem::take(&mut *server.asked.lock().unwrap()), [asked], "{path}");
        assert_eq!(get(&router, path, "admin").await.0, 200, "{path}");
        server.asked.lock().unwrap().clear();
    }
    let (_, body) = get(&router, "/api/v1/decisions?namespace=team-a", "dev").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    let namespaces: Vec<_> = body["decisions"].as_array().unwrap().iter().map(|one| &one["namespace"]).collect();
    assert_eq!((namespaces, &body["last"]), (vec![&json!("team-a")], &json!(1)));
    for (path, numbers, last) in [
        ("/api/v1/differences?namespace=team-a", vec![1], 1),
        ("/api/v1/differences?namespace=team-a&after=1", vec![], 1),
        ("/api/v1/differences", vec![1, 2], 2),
        ("/api/v1/differences?limit=1", vec![2], 2),
    ] {
        let (_, body) = get(&router, path, "admin").await;
        let body: Value = serde_json::from_str(&body).unwrap();
        let found: Vec<_> = body["differences"].as_array().unwrap().iter().map(|one| one["number"].as_u64()).collect();
        let expected: Vec<_> = numbers.into_iter().map(Some).collect();
        assert_eq!((found, &body["last"]), (expected, &json!(last)), "{path}");
    }
    let (_, me) = get(&router, "/api/v1/me", "dev").await;
    let expected =
        r#"{"username":"dev","groups":["system:authenticated"],"readsProcess":false,"readsAllDecisions":false}"#;
    assert_eq!(me, expected);
    let (_, denied) = get(&router, "/api/v1/plugins", "dev").await;
    let expected = r#"{"detail":"the caller cannot get resource \"mutatingwebhookconfigurations\" in API group \"admissionregistration.k8s.io\" at the cluster scope"}"#;
    assert_eq!(denied, expected);
}

#[tokio::test]
async fn refusals_of_the_api_server_keep_their_status_and_message() {
    let (router, _) = console();
    for (token, status, body) in [
        ("unknown", 401, r#"{"detail":"Unauthorized"}"#),
        ("denied", 403, r#"{"detail":"users \"denied\" is forbidden"}"#),
        ("broken", 502, r#"{"detail":"the API server answered with status 500"}"#),
        ("gone", 502, r#"{"detail":"the API server is unreachable"}"#),
    ] {
        assert_eq!(get(&router, "/api/v1/plugins", token).await, (status, body.to_owned()), "{token}");
    }
}

#[tokio::test]
async fn every_answer_has_the_protective_headers() {
    let (router, _) = console();
    for path in ["/", "/static/console.js", "/api/v1/openapi.json", "/api/v1/plugins", "/nothing"] {
        let (_, headers, _) = send(&router, Request::get(path).body(Body::empty()).unwrap()).await;
        for (name, expected) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(headers[name], expected, "{path}");
        }
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test]
async fn the_files_of_the_console_need_no_token() {
    let (router, server) = console();
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/static/console.css", "text/css; charset=utf-8"),
        ("/static/console.js", "text/javascript; charset=utf-8"),
        ("/static/icon.svg", "image/svg+xml"),
    ] {
        let (status, headers, body) = send(&router, Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, content_type), "{path}");
        assert!(!body.is_empty(), "{path}");
    }
    assert!(server.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_dry_run_has_the_diff_without_values() {
    let (router, _) = console();
    let path = "/api/v1/dry-run?namespace=team-a";
    let (status, body) = post(&router, path, "admin", POD).await;
    let expected = r#"{"allowed":true,"outcome":"mutated","code":200,"warnings":["w"],"patch":[{"op":"add","path":"/spec/containers/0/env","value":[{"name":"A","value":"(hidden)"}]}],"requests":[]}"#;
    assert_eq!((status, body.as_str()), (200, expected));
    let (status, body) = post(&router, path, "dev", POD).await;
    let expected =
        r#"{"allowed":false,"outcome":"mutated","code":403,"message":"dev","warnings":[],"patch":[],"requests":[]}"#;
    assert_eq!((status, body.as_str()), (200, expected), "the caller is the requester");
    let (_, body) = post(&router, path, "old", POD).await;
    assert!(body.contains(r#""message":"no user""#), "{body}");
    let (_, me) = get(&router, "/api/v1/me", "old").await;
    assert_eq!(me, r#"{"groups":[],"readsProcess":true,"readsAllDecisions":true}"#);
    let (_, body) = post(&router, "/api/v1/dry-run?namespace=team-a&apiServer=true", "admin", POD).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    let patch = json!([{ "op": "add", "path": "/metadata/namespace", "value": "team-a" }]);
    assert_eq!(body["apiServer"], json!({ "created": true, "patch": patch }));
    let large = vec![b' '; 10 << 20];
    for (path, token, body, status) in [
        ("/api/v1/dry-run?namespace=team-b", "dev", POD.into(), 403),
        ("/api/v1/dry-run", "admin", POD.into(), 400),
        ("/api/v1/dry-run?namespace=A", "admin", POD.into(), 400),
        (path, "admin", "{}".into(), 400),
        (path, "admin", Body::from(large), 413),
        (path, "unknown", POD.into(), 401),
    ] {
        assert_eq!(post(&router, path, token, body).await.0, status, "{path} {token}");
    }
    let nameless = r#"{"apiVersion":"v1","kind":"Pod","metadata":{},"spec":{"containers":[]}}"#;
    let expected = r#"{"detail":"internal error; the webhook's log has the place"}"#;
    assert_eq!(post(&router, path, "admin", nameless).await, (500, expected.to_owned()), "a panic is an answer");
    assert_eq!(get(&router, path, "admin").await.0, 405);
}

#[tokio::test(start_paused = true)]
async fn the_requests_at_once_and_their_time_are_bounded() {
    let (router, _) = console();
    let slow = |path: &'static str| {
        let router = router.clone();
        tokio::spawn(async move { get(&router, path, "slow").await })
    };
    let waiting: Vec<_> = (0..40).map(|_| slow("/api/v1/plugins")).collect();
    let mut statuses = Vec::new();
    for task in waiting {
        statuses.push(task.await.unwrap());
    }
    let count = |status: u16| statuses.iter().filter(|(found, _)| *found == status).count();
    assert_eq!((count(429), count(504)), (8, 32), "{statuses:?}");
    assert_eq!(get(&router, "/api/v1/plugins", "admin").await.0, 200, "the permits are free again");
    let dry_runs: Vec<_> = (0..5)
        .map(|_| {
            let router = router.clone();
            tokio::spawn(async move { post(&router, "/api/v1/dry-run?namespace=team-a", "slow", POD).await.0 })
        })
        .collect();
    let mut statuses = Vec::new();
    for task in dry_runs {
        statuses.push(task.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [429, 429, 429, 504, 504]);
}

#[tokio::test]
async fn the_document_describes_every_route() {
    let (router, _) = console();
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, operations) in document["paths"].as_object().unwrap() {
        let [(method, operation)] = &operations.as_object().unwrap().iter().collect::<Vec<_>>()[..] else {
            panic!("{path} has one operation")
        };
        let mut full = path.clone();
        if operation["parameters"][0]["name"] == "namespace" {
            full += "?namespace=team-a";
        }
        let (status, body) = match method.as_str() {
            "get" => get(&router, &full, "admin").await,
            _ => post(&router, &full, "admin", POD).await,
        };
        assert_eq!(status, 200, "{path} {body}");
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{path}");
        check_fields(&document, schema, &serde_json::from_str(&body).unwrap());
    }
    let references = document.to_string();
    for name in references.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

/// The fields of an answer are those of its schema.
fn check_fields(document: &Value, schema: &Value, answer: &Value) {
    let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) else { return };
    let definition = &document["components"]["schemas"][name];
    let fields: Vec<_> = answer.as_object().unwrap().keys().collect();
    for field in &fields {
        assert!(definition["properties"][field.as_str()].is_object(), "{name} has no {field}");
    }
    for required in definition["required"].as_array().into_iter().flatten() {
        assert!(fields.iter().any(|field| *required == field.as_str()), "{name}: {required} is missing");
    }
}

/// Compares the file with the document, or writes it if `cargo xtask bless` runs the test.
#[test]
fn the_committed_document_is_generated_from_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/console.openapi.json");
    let expected = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("INSTA_UPDATE").is_some_and(|mode| mode == "always") {
        std::fs::write(&path, expected).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == expected, "the file differs from its generated text; run `cargo xtask bless`");
}
