//! In-process benchmarks: a plugin call on a fresh and on a reused instance, the mutation of pods,
//! and the surrounding steps: reading a review, assembling the patch, writing the answer.
//!
//! Each step runs where it runs in production, on the guests' runtime. Only the benchmark of the
//! whole review includes the hop onto that runtime.

#[path = "calls/report.rs"]
mod report;
#[allow(dead_code, reason = "shared by benchmarks that each use a part")]
#[path = "support.rs"]
mod support;

use std::{
    future::Future,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use ampoule_admission::{RequestContext, pipeline::Pipeline};
use ampoule_core::{
    MountRequirement, PendingMutation, Pod, PodMutator, PodOrigin, RequestedSecret, Requester, SecretInjector,
    SecretRequest, UnlimitedMemory,
};
use ampoule_engine::{PluginEngine, PluginInjector};
use ampoule_review as review;
use ampoule_telemetry::metrics::Metrics;
use anyhow::Result;
use criterion::{BatchSize, Bencher, Criterion};
use tokio::runtime::Runtime;

/// Far fewer than the calls of the host that an admission may make.
const CALLS_PER_ADMISSION: u64 = 500;

const PATIENCE: Duration = Duration::from_secs(10);
/// Numbers of secrets per mutated pod.
const SECRETS: [usize; 3] = [1, 3, 20];
/// Numbers of containers per mutated pod.
const CONTAINERS: [usize; 2] = [1, 40];

/// The runtime that guests run on, as in `serve`.
struct Place {
    runtime: Runtime,
    engine: Arc<PluginEngine>,
    metrics: Metrics,
}

fn main() -> Result<()> {
    let begun = std::time::SystemTime::now();
    let folder = report::criterion()?;
    let mut criterion = Criterion::default().configure_from_args().output_directory(&folder);
    let metrics = Metrics::new();
    let serving = Place { runtime: Runtime::new()?, engine: support::engine(&metrics), metrics: metrics.clone() };
    let calling = Place { runtime: Runtime::new()?, engine: support::calling_engine(&metrics), metrics };
    surroundings(&mut criterion, &calling);
    calls(&mut criterion, &calling);
    mutations_by_each_backend(&mut criterion, &calling);
    mutations_by_size(&mut criterion, &calling);
    given_again(&mut criterion, &serving);
    whole_review(&mut criterion, &serving, "review: all of it, bytes to bytes");
    whole_review(&mut criterion, &calling, "review: the same with calls of the plugin");
    criterion.final_summary();
    report::write(&folder, begun)
}

// === impl Place ===

impl Place {
    /// Times `work` on a guest thread. `work` receives the number of iterations and returns their
    /// total duration.
    fn time<F: Future<Output = Duration> + Send + 'static>(&self, bencher: &mut Bencher<'_>, work: impl Fn(u64) -> F) {
        bencher.iter_custom(|iterations| {
            let done = self.engine.run(work(iterations));
            self.runtime.block_on(done).expect("the work ends")
        });
    }

    fn k8s(&self) -> PodMutator {
        support::mutator(support::k8s(&self.runtime, &self.engine))
    }
}

/// The steps outside the plugin, for three secrets and two containers.
fn surroundings(criterion: &mut Criterion, place: &Place) {
    let body = support::review();
    criterion.bench_function("review: decode, bytes to request", |bencher| {
        bencher.iter(|| review::parse(black_box(&body)).expect("a review"));
    });
    let pod = support::parsed_pod();
    criterion.bench_function("review: decode the annotations", |bencher| {
        bencher.iter(|| RequestedSecret::from_annotations(black_box(&pod).annotations()).expect("they are requests"));
    });
    let (mutator, requester) = (place.k8s(), Requester::default());
    let origin = PodOrigin { namespace: "flytesnacks-development", requester: &requester, dry_run: true };
    let asked = || place.runtime.block_on(mutator.ask(&pod, &origin, &UnlimitedMemory));
    criterion.bench_function("review: assemble the patch", |bencher| {
        bencher.iter_batched(asked, PendingMutation::finish, BatchSize::SmallInput);
    });
    let pipeline = Pipeline::new(Arc::clone(&place.engine), place.k8s(), place.metrics.clone());
    let request = review::parse(&body).expect("a review");
    let context = RequestContext::untraced(PATIENCE);
    let reply = place.runtime.block_on(pipeline.admit(request, &context));
    criterion.bench_function("review: write the answer", |bencher| {
        bencher.iter(|| review::respond(black_box(&reply)));
    });
}

/// Calls each backend with the same request, so that the figures differ by the backend alone.
fn calls(criterion: &mut Criterion, place: &Place) {
    let request = Arc::new(one_request());
    for name in support::WITHOUT_SETTINGS {
        let plugin = support::load(&place.runtime, &place.engine, name);
        criterion.bench_function(&format!("{}{name}", report::FRESH), |bencher| {
            place.time(bencher, |iterations| {
                let (plugin, request) = (plugin.clone(), Arc::clone(&request));
                async move { separate_sessions(&plugin, &request, iterations).await }
            });
        });
        criterion.bench_function(&format!("{}{name}", report::REUSED), |bencher| {
            place.time(bencher, |iterations| {
                let (plugin, request) = (plugin.clone(), Arc::clone(&request));
                async move { reused_calls(&plugin, &request, iterations).await }
            });
        });
    }
}

/// The time of calls on instances that served a call before. Each session is an admission, whose
/// calls of the host are limited.
async fn reused_calls(plugin: &PluginInjector, request: &SecretRequest, calls: u64) -> Duration {
    let view = support::parsed_pod().view("flytesnacks-development").into();
    let (mut left, mut spent) = (calls, Duration::ZERO);
    while left > 0 {
        let of_session = left.min(CALLS_PER_ADMISSION);
        let mut session = plugin.open();
        let first = session.inject(request, &view).await;
        assert!(matches!(first, Ok(Ok(_))), "the plugin injects");
        let start = Instant::now();
        for _ in 0..of_session {
            let answer = session.inject(request, &view).await;
            assert!(matches!(black_box(answer), Ok(Ok(_))), "the plugin injects");
        }
        spent += start.elapsed();
        left -= of_session;
    }
    spent
}

fn one_request() -> SecretRequest {
    SecretRequest { group_version: "7".into(), ..support::request("openai", MountRequirement::File) }
}

fn mutations_by_each_backend(criterion: &mut Criterion, place: &Place) {
    for name in support::WITHOUT_SETTINGS {
        let mutator = support::mutator(support::load(&place.runtime, &place.engine, name));
        mutation(
            criterion,
            place,
            &format!("mutation: {name}, secrets: 1, containers: 2"),
            mutator,
            &[one_request()],
            2,
        );
    }
}

fn mutations_by_size(criterion: &mut Criterion, place: &Place) {
    for (containers, secrets) in CONTAINERS.into_iter().flat_map(|count| SECRETS.map(|secrets| (count, secrets))) {
        let title = format!("mutation: k8s, secrets: {secrets}, containers: {containers}");
        mutation(criterion, place, &title, place.k8s(), &support::requests(secrets), containers);
    }
}

fn mutation(
    criterion: &mut Criterion,
    place: &Place,
    title: &str,
    mutator: PodMutator,
    requests: &[SecretRequest],
    containers: usize,
) {
    let pod = Pod::parse(support::pod(requests, containers)).expect("a pod");
    let shared = Arc::new((mutator, pod));
    criterion.bench_function(title, |bencher| {
        place.time(bencher, |iterations| {
            let shared = Arc::clone(&shared);
            async move {
                let (mutator, pod) = &*shared;
                let start = Instant::now();
                for _ in 0..iterations {
                    let mutation = mutator.mutate(pod, "flytesnacks-development").await;
                    assert!(black_box(mutation).outcome.is_ok(), "the pod is admitted");
                }
                start.elapsed()
            }
        });
    });
}

/// An answer and mutations as for all pods of a template but the first.
fn given_again(criterion: &mut Criterion, place: &Place) {
    let plugin = support::k8s(&place.runtime, &place.engine);
    let request = Arc::new(one_request());
    criterion.bench_function("answer of k8s that is given again", |bencher| {
        place.time(bencher, |iterations| {
            let (plugin, request) = (plugin.clone(), Arc::clone(&request));
            async move { separate_sessions(&plugin, &request, iterations).await }
        });
    });
    for secrets in SECRETS {
        let title = format!("mutation by answers that are given again: k8s, secrets: {secrets}, containers: 1");
        mutation(criterion, place, &title, place.k8s(), &support::requests(secrets), 1);
    }
}

/// The time of calls in sessions of their own.
async fn separate_sessions(plugin: &PluginInjector, request: &SecretRequest, calls: u64) -> Duration {
    let view = support::parsed_pod().view("flytesnacks-development").into();
    let start = Instant::now();
    for _ in 0..calls {
        let answer = plugin.open().inject(request, &view).await;
        assert!(matches!(black_box(answer), Ok(Ok(_))), "the plugin injects");
    }
    start.elapsed()
}

fn whole_review(criterion: &mut Criterion, place: &Place, title: &str) {
    let pipeline = Pipeline::new(Arc::clone(&place.engine), place.k8s(), place.metrics.clone());
    let body = support::review();
    criterion.bench_function(title, |bencher| {
        bencher.to_async(&place.runtime).iter(async || {
            let request = review::parse(&body).expect("a review");
            let reply = pipeline.admit(request, &RequestContext::untraced(PATIENCE)).await;
            black_box(review::respond(&reply))
        });
    });
}
