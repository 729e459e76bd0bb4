//! In process: the call of a plugin on a fresh instance, the mutation of a pod with three secrets, what each built-in backend adds
//! to an admission, and a whole review.
//!
//! Each is measured where it runs in production, on the guests' runtime; the hop onto it is part of the review only.

#![allow(missing_docs, reason = "criterion's macro makes a function without one")]

#[allow(dead_code, reason = "shared by benchmarks that each use a part")]
#[path = "support.rs"]
mod support;

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use ampoule_core::{MountRequirement, Pod, PodMutator, SecretInjector, SecretRequest};
use ampoule_engine::PluginEngine;
use ampoule_server::{Metrics, Pipeline, review};
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(10);

fn fresh_instance_call(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let engine = support::engine();
    let plugin = support::k8s(&runtime, &engine);
    criterion.bench_function("call on a fresh instance", |bencher| {
        bencher.iter_custom(|iterations| {
            let plugin = plugin.clone();
            let work = engine.run(async move {
                let request = support::request("openai", MountRequirement::EnvVar);
                let view = support::parsed_pod().view("flytesnacks-development");
                let start = Instant::now();
                for _ in 0..iterations {
                    let answer = plugin.open().inject(&request, &view).await;
                    assert!(matches!(black_box(answer), Ok(Ok(_))), "the plugin injects");
                }
                start.elapsed()
            });
            runtime.block_on(work).expect("the work ends")
        });
    });
    criterion.bench_function("call on a reused instance", |bencher| {
        bencher.iter_custom(|iterations| {
            let plugin = plugin.clone();
            let work = engine.run(async move {
                let request = support::request("openai", MountRequirement::EnvVar);
                let view = support::parsed_pod().view("flytesnacks-development");
                let mut session = plugin.open();
                let start = Instant::now();
                for _ in 0..iterations {
                    let answer = session.inject(&request, &view).await;
                    assert!(matches!(black_box(answer), Ok(Ok(_))), "the plugin injects");
                }
                start.elapsed()
            });
            runtime.block_on(work).expect("the work ends")
        });
    });
}

fn mutation_of_three_secrets(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let engine = support::engine();
    let mutator = support::mutator(support::k8s(&runtime, &engine));
    mutation(criterion, &runtime, &engine, "mutation with three secrets", mutator, support::parsed_pod());
}

/// The same pod and the same request for each, so that the numbers differ by the backend alone.
fn mutation_of_one_secret_by_each_backend(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let engine = support::engine();
    let request = SecretRequest { group_version: "7".into(), ..support::request("openai", MountRequirement::File) };
    for (name, component) in ampoule_plugin_bundle::COMPONENTS {
        let mutator = support::mutator(support::load(&runtime, &engine, name, component));
        let pod = Pod::parse(support::pod(std::slice::from_ref(&request))).expect("a pod");
        mutation(criterion, &runtime, &engine, &format!("mutation with one secret of {name}"), mutator, pod);
    }
}

fn mutation(
    criterion: &mut Criterion,
    runtime: &Runtime,
    engine: &PluginEngine,
    title: &str,
    mutator: PodMutator,
    pod: Pod,
) {
    let shared = Arc::new((mutator, pod));
    criterion.bench_function(title, |bencher| {
        bencher.iter_custom(|iterations| {
            let shared = shared.clone();
            let work = engine.run(async move {
                let (mutator, pod) = &*shared;
                let start = Instant::now();
                for _ in 0..iterations {
                    let mutation = mutator.mutate(pod, "flytesnacks-development").await;
                    assert!(black_box(mutation).outcome.is_ok(), "the pod is admitted");
                }
                start.elapsed()
            });
            runtime.block_on(work).expect("the work ends")
        });
    });
}

fn whole_review(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let engine = support::engine();
    let mutator = support::mutator(support::k8s(&runtime, &engine));
    let pipeline = Pipeline::new(engine, mutator, Metrics::new());
    let body = support::review();
    criterion.bench_function("review of three secrets, bytes to bytes", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let request = review::parse(&body).expect("a review");
            let deadline = tokio::time::Instant::now() + PATIENCE;
            let reply = pipeline.admit(request, std::time::Instant::now(), deadline).await;
            black_box(review::respond(&reply))
        });
    });
}

criterion_group!(
    benches,
    fresh_instance_call,
    mutation_of_three_secrets,
    mutation_of_one_secret_by_each_backend,
    whole_review
);
criterion_main!(benches);
