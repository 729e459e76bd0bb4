//! Fairness: the duration of a good admission while four guests loop endlessly on the same engine.
//!
//! The same run measures the same admissions on an idle engine for comparison.

#[allow(dead_code, reason = "shared by benchmarks that each use a part")]
#[path = "support.rs"]
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use ampoule_core::{MountRequirement, PodMutator, SecretInjector};
use ampoule_engine::{PluginEngine, PluginInjector};
use ampoule_telemetry::metrics::Metrics;
use ampoule_tests::figures::{Cell, Part, Table};
use anyhow::Result;
use tokio::{runtime::Runtime, task::JoinSet};

const ENDLESS: usize = 4;
const ABOUT: &str = "In process, on one engine. A deadline stops each looping guest, and the next one starts at once.";

fn main() -> Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let samples = if quick { 50 } else { 1000 };
    let runtime = Runtime::new().expect("a runtime");
    let engine = support::calling_engine(&Metrics::new());
    let (name, component) =
        ampoule_test_guests::GUESTS.iter().find(|(name, _)| *name == "endless_loop").expect("the guest");
    let endless = runtime.block_on(engine.load(support::spec(name, component))).expect("the guest loads");
    let mutator = Arc::new(support::mutator(support::k8s(&runtime, &engine)));
    let idle = runtime.block_on(sample(&engine, &mutator, samples));
    let busy = runtime.block_on(async {
        let stop = Arc::new(AtomicBool::new(false));
        let mut guests = JoinSet::new();
        for _ in 0..ENDLESS {
            guests.spawn(spin(engine.clone(), endless.clone(), stop.clone()));
        }
        let busy = sample(&engine, &mutator, samples).await;
        stop.store(true, Relaxed);
        guests.join_all().await;
        busy
    });
    let title = format!("A good admission of three secrets, {samples} in sequence");
    let mut table = Table::new(title, &["load", "median", "p99"]);
    for (load, times) in [("none".to_owned(), idle), (format!("{ENDLESS} endless guests running"), busy)] {
        table.row([Cell::name(load), Cell::Time(percentile(&times, 50)), Cell::Time(percentile(&times, 99))]);
    }
    let mut part = Part::new("fairness", "With endless guests running", ABOUT);
    part.table(table);
    part.write()
}

/// Keeps one endless guest running: when its deadline stops it, the next one starts.
async fn spin(engine: Arc<PluginEngine>, endless: PluginInjector, stop: Arc<AtomicBool>) {
    while !stop.load(Relaxed) {
        let endless = endless.clone();
        let asked = engine.run(async move {
            let request = support::request("key", MountRequirement::Any);
            endless.open().inject(&request, &support::parsed_pod().view("team-a").into()).await
        });
        assert!(matches!(asked.await, Ok(Err(_))), "an endless guest is stopped");
    }
}

async fn sample(engine: &PluginEngine, mutator: &Arc<PodMutator>, samples: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(samples);
    for _ in 0..samples {
        let mutator = mutator.clone();
        let start = Instant::now();
        let mutation = engine.run(async move { mutator.mutate(&support::parsed_pod(), "team-a").await }).await;
        times.push(start.elapsed());
        assert!(mutation.expect("the work ends").outcome.is_ok(), "the pod is admitted");
    }
    times.sort();
    times
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}
