//! How the time of an admission grows with the number of secrets and containers, with the size of
//! the pod, and with the number of plugins in the chain.
//!
//! Each series has the straight line that fits it best. A point far above its line would be a cost
//! that grows faster than the input.

#[path = "scale/line.rs"]
mod line;
#[allow(dead_code, reason = "shared by benchmarks that each use a part")]
#[path = "support.rs"]
mod support;

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use ampoule_admission::{RequestContext, pipeline::Pipeline};
use ampoule_core::{MountRequirement, Pod, PodMutator, Profile, SecretInjector, SecretRequest};
use ampoule_engine::PluginEngine;
use ampoule_review as review;
use ampoule_telemetry::metrics::Metrics;
use ampoule_tests::figures::{Cell, Part, Table};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::line::Line;

const ABOUT: &str = "In process, on one thread: each time is the fastest of its rounds. The pods of a row have the same \
    requests, so that the answers of `k8s` are given again; the plugins before it in the chain have no secret and are \
    called. `per …` is the slope of the straight line through the row, `R²` how much of the row the line explains.";

const SECRETS: [usize; 5] = [1, 2, 4, 8, 16];
/// Without the init container. Pods have at most 400 containers.
const CONTAINERS: [usize; 4] = [1, 10, 100, 399];
/// Bytes of a pod. The API server accepts 1.5 MiB.
const BYTES: [usize; 6] = [1 << 10, 10 << 10, 100 << 10, 500 << 10, 1 << 20, 1536 << 10];
const PLUGINS: [usize; 7] = [1, 2, 5, 10, 20, 50, 100];

const NAMESPACE: &str = "flytesnacks-development";
const PATIENCE: Duration = Duration::from_secs(10);
/// The group for which the guest `echo` has no secret.
const NOT_ECHOED: &str = "not-found";

/// Sizes of the measurements.
struct Extent {
    rounds: usize,
    /// The shortest time of a round.
    round: Duration,
}

const FULL: Extent = Extent { rounds: 30, round: Duration::from_millis(10) };
const QUICK: Extent = Extent { rounds: 2, round: Duration::ZERO };

/// Where admissions run, as in `serve`.
struct Place {
    runtime: Runtime,
    engine: Arc<PluginEngine>,
    metrics: Metrics,
    extent: Extent,
}

fn main() -> Result<()> {
    let extent = if std::env::args().any(|argument| argument == "--quick") { QUICK } else { FULL };
    let metrics = Metrics::new();
    let place = Place { runtime: Runtime::new()?, engine: support::engine(&metrics), metrics, extent };
    let mut part = Part::new("scale", "Scale", ABOUT);
    part.table(secrets_and_containers(&place));
    part.table(bytes(&place));
    part.table(plugins(&place)?);
    part.write()
}

fn secrets_and_containers(place: &Place) -> Table {
    let columns = ["containers", "1 secret", "2", "4", "8", "16", "per secret", "R²"];
    let mut table = Table::new("The mutation of a pod", &columns);
    for containers in CONTAINERS {
        let times = SECRETS.map(|secrets| {
            let pod = Pod::parse(support::pod(&support::requests(secrets), containers)).expect("a pod");
            place.mutation(&place.k8s(), &pod)
        });
        table.row(
            [Cell::Count(containers as u64)].into_iter().chain(times.map(Cell::Time)).chain(fit(&SECRETS, &times)),
        );
    }
    table
}

fn bytes(place: &Place) -> Table {
    let columns = ["part", "1 KiB", "10 KiB", "100 KiB", "500 KiB", "1 MiB", "1.5 MiB", "per KiB", "R²"];
    let mut table = Table::new("A pod of this size with one secret", &columns);
    let pods = BYTES.map(large_pod);
    let kib = BYTES.map(|bytes| bytes >> 10);
    let pipeline = Pipeline::new(Arc::clone(&place.engine), place.k8s(), place.metrics.clone());
    let mut row = |part: &str, times: [Duration; BYTES.len()]| {
        table.row([Cell::name(part)].into_iter().chain(times.map(Cell::Time)).chain(fit(&kib, &times)));
    };
    let bodies = pods.each_ref().map(support::review_of);
    row("read the review", bodies.each_ref().map(|body| place.fastest(|| _ = black_box(review::parse(body)))));
    let mutate = |pod: &Value| place.mutation(&place.k8s(), &Pod::parse(pod.clone()).expect("a pod"));
    row("mutate the pod", pods.each_ref().map(mutate));
    let whole = |body: &Vec<u8>| {
        place.fastest(|| {
            let request = review::parse(body).expect("a review");
            let context = RequestContext::untraced(PATIENCE);
            black_box(review::respond(&place.runtime.block_on(pipeline.admit(request, &context))));
        })
    };
    row("all, with metrics: bytes to bytes", bodies.each_ref().map(whole));
    table
}

fn plugins(place: &Place) -> Result<Table> {
    let columns = ["secrets", "1 plugin", "2", "5", "10", "20", "50", "100", "per plugin", "R²"];
    let mut table = Table::new("The mutation of a pod by the last plugin of the chain", &columns);
    let (_, echo) = ampoule_test_guests::GUESTS.iter().find(|(name, _)| *name == "echo").context("no guest `echo`")?;
    let echo = place.runtime.block_on(place.engine.load(support::spec("echo", echo)))?;
    let k8s = support::k8s(&place.runtime, &place.engine);
    for secrets in [1, 3] {
        let requests: Vec<_> = (0..secrets).map(not_echoed).collect();
        let pod = Pod::parse(support::pod(&requests, 2))?;
        let times = PLUGINS.map(|plugins| {
            let mut chain: Vec<Arc<dyn SecretInjector>> = Vec::new();
            chain.resize_with(plugins - 1, || Arc::new(echo.clone()));
            chain.push(Arc::new(k8s.clone()));
            place.mutation(&PodMutator::new(chain, Profile::FlyteV1.conventions()), &pod)
        });
        table.row([Cell::Count(secrets)].into_iter().chain(times.map(Cell::Time)).chain(fit(&PLUGINS, &times)));
    }
    Ok(table)
}

fn not_echoed(number: u64) -> SecretRequest {
    SecretRequest {
        group: NOT_ECHOED.to_owned(),
        ..support::request(&format!("token-{number}"), MountRequirement::EnvVar)
    }
}

/// A pod of about this size: many variables, as generated manifests have.
fn large_pod(bytes: usize) -> Value {
    let mut pod = support::pod(&support::requests(1), 1);
    let missing = bytes.saturating_sub(pod.to_string().len());
    let variable = |number: usize| json!({ "name": format!("SETTING_{number}"), "value": "x".repeat(60) });
    let size = variable(10_000).to_string().len() + 1;
    let env = pod["spec"]["containers"][0]["env"].as_array_mut().expect("the container has variables");
    env.extend((0..missing / size).map(variable));
    pod
}

/// The slope of the best straight line, and how well it fits.
fn fit<const N: usize>(sizes: &[usize; N], times: &[Duration; N]) -> [Cell; 2] {
    let points: Vec<_> = sizes.iter().zip(times).map(|(size, time)| (*size as f64, time.as_secs_f64())).collect();
    let line = Line::through(&points);
    [Cell::Time(Duration::from_secs_f64(line.slope.max(0.0))), Cell::name(format!("{:.4}", line.explained))]
}

// === impl Place ===

impl Place {
    fn k8s(&self) -> PodMutator {
        support::mutator(support::k8s(&self.runtime, &self.engine))
    }

    fn mutation(&self, mutator: &PodMutator, pod: &Pod) -> Duration {
        self.fastest(|| {
            let mutation = self.runtime.block_on(mutator.mutate(pod, NAMESPACE));
            assert!(black_box(mutation).outcome.is_ok(), "the pod is admitted");
        })
    }

    /// The time of one call in the fastest round.
    fn fastest(&self, work: impl Fn()) -> Duration {
        let begun = Instant::now();
        work();
        let calls = self.extent.round.as_nanos() / begun.elapsed().as_nanos().max(1) + 1;
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        support::fastest(self.extent.rounds, calls, work)
    }
}
