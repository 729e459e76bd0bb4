//! Admissions by `builtin:embedded`, compared with `k8s`: by references, and with values of the
//! cache that a Secret delivers. The API server's writes of such Secrets are figures of their own.
//!
//! The in-process admissions alternate in short rounds, so that a busy machine slows down all of
//! them; the ratio is that of the fastest rounds.

#[allow(dead_code, reason = "shared by benchmarks that each use a part")]
#[path = "support.rs"]
mod support;

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use ampoule_core::{
    ClusterSecrets, ClusterSecretsError, DeliveredSecret, Delivery, DeliveryError, DeliveryStore, LabelledSecrets,
    NamingKey, Pod, PodMutator, PodOrigin, Profile, Requester, SecretName, ShippedComponent, UnlimitedMemory,
};
use ampoule_engine::{EngineConfig, Grants, PluginEngine, PluginInjector, PluginSpec, ValueCachePolicy};
use ampoule_telemetry::metrics::Metrics;
use ampoule_tests::{
    ApiServer,
    figures::{Cell, Part, Table},
};
use anyhow::Result;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::runtime::Runtime;

const ABOUT: &str = "In process, three secrets for a pod of two containers and an init container. `embedded` searches three \
    scopes for each secret, and finds it in the last one; Secrets are answered from memory. The API server is real; its etcd \
    does not wait for the disk.";

/// The namespace of Flyte's Secrets.
const FLYTE: &str = "flyte";
/// The namespace of other pods.
const PODS: &str = "flytesnacks-development";

/// Sizes of the measurements.
struct Extent {
    rounds: usize,
    admissions: u32,
    writes: usize,
}

const FULL: Extent = Extent { rounds: 400, admissions: 50, writes: 500 };
const QUICK: Extent = Extent { rounds: 5, admissions: 10, writes: 5 };

fn main() -> Result<()> {
    let extent = if std::env::args().any(|argument| argument == "--quick") { QUICK } else { FULL };
    let runtime = Runtime::new()?;
    let mut part = Part::new("values", "Values and references", ABOUT);
    for reuse_answers in [true, false] {
        part.table(admissions(&runtime, &extent, reuse_answers));
    }
    part.table(runtime.block_on(writes(extent.writes))?);
    part.write()
}

/// An admission with its fastest round and the sum of all.
struct Admission {
    what: &'static str,
    namespace: &'static str,
    goal: Option<f64>,
    mutator: Arc<PodMutator>,
    fastest: Duration,
    total: Duration,
}

fn admissions(runtime: &Runtime, extent: &Extent, reuse_answers: bool) -> Table {
    let config = EngineConfig {
        observer: Arc::new(Metrics::new()),
        secrets: Arc::new(FlyteSecrets),
        reuse_answers,
        ..EngineConfig::default()
    };
    let engine = Arc::new(PluginEngine::new(config).expect("an engine"));
    let load = |spec| runtime.block_on(engine.load(spec)).expect("the plugin loads");
    let policy = ValueCachePolicy { ttl: Duration::from_secs(3600), max_stale: Duration::ZERO };
    let mut all = [
        Admission::new("`k8s`", PODS, None, load(support::built_in("k8s"))),
        Admission::new("`embedded`, references", FLYTE, Some(1.3), load(embedded(ValueCachePolicy::default()))),
        Admission::new("`embedded`, values of the cache in a Secret", PODS, Some(1.5), load(embedded(policy))),
        Admission::new(
            "`embedded`, fetched values in a Secret",
            PODS,
            None,
            load(embedded(ValueCachePolicy::default())),
        ),
    ];
    let pod = Arc::new(pod());
    for _ in 0..extent.rounds {
        for admission in &mut all {
            let (mutator, pod) = (Arc::clone(&admission.mutator), Arc::clone(&pod));
            let work = round(mutator, pod, admission.namespace, extent.admissions);
            let time = runtime.block_on(engine.run(work)).expect("the round ends");
            admission.fastest = admission.fastest.min(time);
            admission.total += time;
        }
    }
    let columns = ["admission", "fastest", "mean", "ratio to `k8s`", "goal"];
    let title = match reuse_answers {
        true => "An admission without the network, of the same pod as before",
        false => "An admission without the network, each answer by a call of the plugin",
    };
    let mut table = Table::new(title, &columns);
    let base = all[0].fastest;
    let divisor = u32::try_from(extent.rounds).unwrap_or(u32::MAX);
    for Admission { what, goal, fastest, total, .. } in &all {
        let ratio = fastest.as_secs_f64() / base.as_secs_f64();
        let goal = goal.map_or(Cell::name("–"), Cell::Ratio);
        table.row([Cell::name(*what), Cell::Time(*fastest), Cell::Time(*total / divisor), Cell::Ratio(ratio), goal]);
    }
    table
}

/// The time of an admission, which is that of several in sequence divided by their number.
async fn round(mutator: Arc<PodMutator>, pod: Arc<Pod>, namespace: &'static str, admissions: u32) -> Duration {
    let requester = Requester::default();
    let origin = PodOrigin { namespace, requester: &requester, dry_run: false };
    let start = Instant::now();
    for _ in 0..admissions {
        let mutation = mutator.ask(&pod, &origin, &UnlimitedMemory).await.finish();
        assert!(black_box(mutation).outcome.is_ok(), "the pod is admitted");
    }
    start.elapsed() / admissions
}

/// The default pod, of a task of Flyte 2.
fn pod() -> Pod {
    let mut pod = support::pod(&support::requests(3), 2);
    for (label, value) in [("organization", "flyte"), ("domain", "development"), ("project", "flytesnacks")] {
        pod["metadata"]["labels"][label] = json!(value);
    }
    Pod::parse(pod).expect("a pod")
}

fn embedded(value_cache: ValueCachePolicy) -> PluginSpec {
    let labels = BTreeMap::from([("app.flyte.org/managed".to_owned(), "true".to_owned())]);
    let grant = LabelledSecrets { namespace: FLYTE.to_owned(), labels };
    let grants = Grants { labelled_secrets: [grant].into_iter().collect(), ..Grants::default() };
    PluginSpec { conventions: Profile::FlyteV2.conventions(), grants, value_cache, ..support::built_in("embedded") }
}

// === impl Admission ===

impl Admission {
    fn new(what: &'static str, namespace: &'static str, goal: Option<f64>, plugin: PluginInjector) -> Self {
        let mutator = PodMutator::new(vec![Arc::new(plugin)], Profile::FlyteV2.conventions());
        let mutator = Arc::new(mutator.with_delivery(vec![Delivery::Secret], Arc::new(Written)));
        Self { what, namespace, goal, mutator, fastest: Duration::MAX, total: Duration::ZERO }
    }
}

/// The Secrets of Flyte: each secret exists in the organization.
struct FlyteSecrets;

#[async_trait]
impl ClusterSecrets for FlyteSecrets {
    async fn read(
        &self,
        _secret: &SecretName,
        key: &str,
        _selectors: &[LabelledSecrets],
    ) -> Result<Option<Vec<u8>>, ClusterSecretsError> {
        Ok(key.contains("__domain____project____").then(|| key.as_bytes().to_vec()))
    }
}

/// Secrets with values that exist already, as for all pods of a burst but the first.
struct Written;

#[async_trait]
impl DeliveryStore for Written {
    async fn naming_key(&self, _dry_run: bool) -> Result<NamingKey, DeliveryError> {
        Ok(NamingKey::new([7; NamingKey::BYTES]))
    }

    async fn ensure(&self, _secret: &DeliveredSecret) -> Result<(), DeliveryError> {
        Ok(())
    }

    async fn ensure_component(&self, _namespace: &str, _component: &ShippedComponent) -> Result<(), DeliveryError> {
        Ok(())
    }
}

/// The requests that `delivery: secret` sends to the API server.
async fn writes(count: usize) -> Result<Table> {
    let namespace = ApiServer::shared().await?.namespace("bench").await?;
    let api: Api<Secret> = namespace.api();
    let (mut create, mut renew) = (Vec::new(), Vec::new());
    for number in 0..count {
        let name = format!("ampoule-{number}");
        let secret: Secret = serde_json::from_value(json!({
            "metadata": { "name": name, "labels": { "ampoule.dev/delivered-by": "bench" } },
            "immutable": true, "type": "Opaque", "stringData": { "a": "value", "b": "value", "c": "value" },
        }))?;
        let start = Instant::now();
        api.create(&PostParams::default(), &secret).await?;
        create.push(start.elapsed());
        let patch = json!({ "metadata": { "annotations": { "ampoule.dev/last-used": "2026-01-01T00:00:00Z" } } });
        let start = Instant::now();
        api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        renew.push(start.elapsed());
    }
    let mut table = Table::new("The API server's part of `delivery: secret`", &["request", "median", "p99"]);
    for (what, mut times) in [("create a Secret, for the first pod", create), ("renew it, after five seconds", renew)] {
        times.sort_unstable();
        let at = |part: usize| Cell::Time(times[(times.len() - 1) * part / 100]);
        table.row([Cell::name(what), at(50), at(99)]);
    }
    Ok(table)
}
