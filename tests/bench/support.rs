//! Shared by the benchmarks: an engine with the built-in plugin, and pods that request secrets.
//!
//! A pod has an init container and typical fields; of three secrets, two are variables and one is a
//! file. The default pod has two containers and three secrets.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ampoule_config::WEBHOOK_PATH;
use ampoule_core::{MountRequirement, Pod, PodMutator, Profile, SecretRequest};
use ampoule_engine::{
    ComponentBytes, EngineConfig, FetchPlace, Grants, Limits, PluginEngine, PluginInjector, PluginSpec,
    ValueCachePolicy,
};
use ampoule_load::Target;
use ampoule_telemetry::metrics::Metrics;
use ampoule_tests::Trust;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// The default timeout of a webhook's registration.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The built-in plugins that need neither settings nor grants.
pub(crate) const WITHOUT_SETTINGS: [&str; 5] = ["k8s", "aws", "gcp", "azure", "vault"];

/// The first bytes of an answer that allows a pod; the verdict is always within them.
const HEAD: usize = 256;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An engine as `serve` makes it: each plugin call is counted, and an answer that the plugin would
/// give again needs no call.
pub(crate) fn engine(metrics: &Metrics) -> Arc<PluginEngine> {
    Arc::new(PluginEngine::new(config(metrics)).expect("an engine"))
}

/// The same, with a call for each answer.
pub(crate) fn calling_engine(metrics: &Metrics) -> Arc<PluginEngine> {
    let config = EngineConfig { reuse_answers: false, ..config(metrics) };
    Arc::new(PluginEngine::new(config).expect("an engine"))
}

fn config(metrics: &Metrics) -> EngineConfig {
    EngineConfig { observer: Arc::new(metrics.clone()), ..EngineConfig::default() }
}

/// Loads a built-in plugin without settings.
pub(crate) fn load(runtime: &Runtime, engine: &PluginEngine, name: &str) -> PluginInjector {
    runtime.block_on(engine.load(built_in(name))).expect("the plugin loads")
}

/// A built-in plugin without settings and grants.
pub(crate) fn built_in(name: &str) -> PluginSpec {
    spec(name, ampoule_plugin_bundle::component(name).expect("the plugin is built in"))
}

/// A plugin without settings and grants.
pub(crate) fn spec(name: &str, component: &'static [u8]) -> PluginSpec {
    PluginSpec {
        name: name.to_owned(),
        source: format!("bench:{name}"),
        component: ComponentBytes::BuiltIn(component),
        settings: json!({}),
        conventions: Profile::FlyteV1.conventions(),
        limits: Limits::default(),
        grants: Grants::default(),
        value_cache: ValueCachePolicy::default(),
        fetch_place: FetchPlace::Here,
        strict_grants: false,
    }
}

/// The built-in plugin.
pub(crate) fn k8s(runtime: &Runtime, engine: &PluginEngine) -> PluginInjector {
    load(runtime, engine, "k8s")
}

/// A mutator with this plugin only.
pub(crate) fn mutator(plugin: PluginInjector) -> PodMutator {
    PodMutator::new(vec![Arc::new(plugin)], Profile::FlyteV1.conventions())
}

/// The time of one call of `work` in the fastest of some rounds.
pub(crate) fn fastest(rounds: usize, calls: u32, work: impl Fn()) -> Duration {
    let round = |_| {
        let start = Instant::now();
        (0..calls).for_each(|_| work());
        start.elapsed() / calls
    };
    (0..rounds).map(round).min().unwrap_or_default()
}

/// One request.
pub(crate) fn request(key: &str, mount: MountRequirement) -> SecretRequest {
    SecretRequest { group: "user-info".into(), key: key.into(), mount, ..SecretRequest::default() }
}

/// `count` requests, two of three as variables.
pub(crate) fn requests(count: usize) -> Vec<SecretRequest> {
    let request = |i: usize| match i % 3 {
        2 => request(&format!("ca-{i}.crt"), MountRequirement::File),
        _ => request(&format!("token-{i}"), MountRequirement::EnvVar),
    };
    (0..count).map(request).collect()
}

/// A pod with `containers` containers that requests these secrets.
pub(crate) fn pod(requests: &[SecretRequest], containers: usize) -> Value {
    let annotations = requests.iter().enumerate();
    let annotations: serde_json::Map<_, _> =
        annotations.map(|(i, request)| (format!("flyte.secrets/s{i}"), json!(request.to_flyte_annotation()))).collect();
    let container = |name: &str| {
        json!({
            "name": name, "image": "docker.io/library/python:3.12", "command": ["pyflyte-execute"],
            "env": [{ "name": "HOME", "value": "/root" }, { "name": "PYTHONUNBUFFERED", "value": "1" }],
            "resources": { "requests": { "cpu": "500m", "memory": "1Gi" } },
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        })
    };
    let containers: Vec<_> = (0..containers).map(|i| container(&format!("container-{i}"))).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "task-pod", "namespace": "flytesnacks-development",
            "labels": { "inject-flyte-secrets": "true" }, "annotations": annotations,
        },
        "spec": {
            "initContainers": [container("prepare")],
            "containers": containers,
            "volumes": [{ "name": "data", "emptyDir": {} }],
        },
    })
}

/// The default pod as the core reads it.
pub(crate) fn parsed_pod() -> Pod {
    Pod::parse(pod(&requests(3), 2)).expect("a pod")
}

/// The default pod as the API server sends it.
pub(crate) fn review() -> Vec<u8> {
    review_of(&pod(&requests(3), 2))
}

/// A pod as the API server sends it.
pub(crate) fn review_of(pod: &Value) -> Vec<u8> {
    let kind = json!({ "group": "", "version": "v1", "kind": "Pod" });
    let resource = json!({ "group": "", "version": "v1", "resource": "pods" });
    let user = json!({
        "username": "system:serviceaccount:flyte:flytepropeller", "uid": "0df28fbd-5f5f-11e8-bc74-36e6bb280816",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:flyte", "system:authenticated"],
    });
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "resource": resource, "requestKind": kind,
            "requestResource": resource, "name": "task-pod", "namespace": "flytesnacks-development", "operation": "CREATE",
            "userInfo": user, "object": pod, "oldObject": null, "dryRun": false,
            "options": { "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" },
        },
    });
    review.to_string().into_bytes()
}

/// The load's target: a webhook at this address, which must allow the pod, and with `patched` must
/// also patch it.
pub(crate) fn target(address: SocketAddr, trust: &Trust, patched: bool) -> Target {
    Target {
        address,
        tls: trust.client_config(),
        server_name: ServerName::IpAddress(address.ip().into()),
        path: format!("{}?timeout=10s", WEBHOOK_PATH),
        content_type: "application/json",
        body: review().into(),
        accepts: if patched {
            |answer| starts_with(answer, br#""allowed":true,"patchType":"JSONPatch""#)
        } else {
            |answer| starts_with(answer, br#""allowed":true"#)
        },
        timeout: TIMEOUT,
    }
}

fn starts_with(answer: &[u8], verdict: &[u8]) -> bool {
    answer[..answer.len().min(HEAD)].windows(verdict.len()).any(|part| part == verdict)
}
