//! Many pods: concurrently, sequentially over a long time, and during a shutdown.
//!
//! The tests count answers and memory, not time; the benchmarks measure speed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ampoule_core::MountRequirement::{Any, EnvVar, File};
use ampoule_tests::{Ampoule, Connection, Review, asking, eventually};
use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::support::{Guests, K8S, config, registered, request, v1};

/// Maximum resident memory of the serving process. 82 MiB were measured for the tests' debug build
/// with ten built-in plugins compiled in the process; its code, most of it not optimised, takes a
/// large part.
const MOST_KIB: u64 = 92 << 10;
/// Variation of the allocator's memory at any moment.
const FLAT_KIB: u64 = 4 << 10;

fn review() -> Review {
    let requests = [request("group", "key", EnvVar, ""), request("group", "file", File, "")];
    Review::of(&asking("task", requests), "default")
}

#[tokio::test]
async fn two_hundred_pods_at_once_all_get_their_secrets() -> Result<()> {
    let (namespace, ampoule) = registered("deployment", &v1()).await?;
    let mut pods = JoinSet::new();
    for i in 0..200 {
        let (namespace, key) = (namespace.clone(), format!("key-{i}"));
        let pod = asking(&format!("task-{i}"), [request("group", &key, EnvVar, ""), request("group", &key, File, "")]);
        pods.spawn(async move {
            let created = namespace.create_pod(&pod).await?;
            let env = &created["spec"]["containers"][0]["env"];
            let volume = &created["spec"]["volumes"][0]["secret"];
            ensure!(env[0]["valueFrom"]["secretKeyRef"]["key"] == key.as_str(), "{key}: {env}");
            ensure!(volume["items"][0]["key"] == key.as_str(), "{key}: {volume}");
            Ok(())
        });
    }
    while let Some(created) = pods.join_next().await {
        created??;
    }
    let metrics = ampoule.admin("/metrics").await?.text();
    assert!(metrics.contains("ampoule_admissions_total{outcome=\"mutated\"} 200\n"), "{metrics}");
    Ok(())
}

/// Sends this many reviews on four kept connections.
async fn admit(ampoule: &Ampoule, reviews: u32) -> Result<()> {
    let mut connections = JoinSet::new();
    for _ in 0..4 {
        let mut connection = ampoule.connect().await?;
        connections.spawn(async move {
            let review = review();
            for _ in 0..reviews / 4 {
                let response = Ampoule::review(&mut connection, &review).await?;
                ensure!(response.allowed && !response.patch.0.is_empty(), "{response:?}");
            }
            Ok(())
        });
    }
    while let Some(done) = connections.join_next().await {
        done??;
    }
    Ok(())
}

#[tokio::test]
async fn memory_is_flat_after_ten_thousand_admissions() -> Result<()> {
    // The log level of production: a trace-level log of this size would affect the measurement.
    let ampoule = Ampoule::start_logging(&v1(), "info").await?;
    admit(&ampoule, 2_000).await?;
    let early = ampoule.resident_kib()?;
    admit(&ampoule, 8_000).await?;
    let late = ampoule.resident_kib()?;
    println!("{early} KiB resident after 2,000 admissions, {late} KiB after 10,000");
    assert!(late < MOST_KIB, "{late} KiB resident after 10,000 admissions");
    assert!(late < early + FLAT_KIB, "{early} KiB after 2,000 admissions and {late} KiB after 10,000");
    let metrics = ampoule.admin("/metrics").await?.text();
    assert!(metrics.contains("ampoule_admissions_total{outcome=\"mutated\"} 10000\n"), "{metrics}");
    ampoule.stop().await?.ensure_clean()
}

/// Sends reviews on one kept connection until `stop`; returns the number of answers.
async fn keep_asking(mut connection: Connection, stop: Arc<AtomicBool>) -> Result<u32> {
    let review = review();
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        let response = Ampoule::review(&mut connection, &review).await?;
        ensure!(response.allowed && !response.patch.0.is_empty(), "{response:?}");
        answered += 1;
    }
    Ok(answered)
}

/// Waits until the process has mutated twice as many pods as the load has connections.
async fn more_admissions(ampoule: &Ampoule, what: &str) -> Result<()> {
    const MUTATED: &str = "ampoule_admissions_total{outcome=\"mutated\"}";
    let before = ampoule.metric(MUTATED).await?;
    eventually(what, Duration::from_secs(2), async || {
        let now = ampoule.metric(MUTATED).await?;
        ensure!(now >= before + 16.0, "{before} before, {now} now");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_loses_no_request() -> Result<()> {
    let guests = Guests::write(&["endless_loop"])?;
    // Its answer, a refusal, arrives at its deadline: this is the slow request.
    let slow = guests.injector("endless_loop", "{}", "{ deadlineMillis: 4000, queueWaitMillis: 10000 }");
    let quick = config("flyte-v1", &[K8S, &slow].concat());
    let ampoule = Ampoule::start(&quick.replace("shutdownDelaySeconds: 0", "shutdownDelaySeconds: 3")).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for _ in 0..8 {
        load.spawn(keep_asking(ampoule.connect().await?, stop.clone()));
    }
    let mut idle = ampoule.connect().await?;
    Ampoule::review(&mut idle, &review()).await?;
    more_admissions(&ampoule, "the load before the signal").await?;

    let signalled = Instant::now();
    ampoule.terminate()?;
    // The process serves during the delay in which load balancers remove it.
    eventually("unready while draining", Duration::from_secs(2), async || {
        let answer = ampoule.admin("/readyz").await?;
        ensure!(answer.status == 503 && answer.text().contains("draining"), "{answer:?}");
        Ok(())
    })
    .await?;
    assert_eq!(ampoule.admin("/livez").await?.status, 200);
    let mut late = ampoule.connect().await.context("a connection while draining")?;
    let slow = Review::of(&asking("slow", [request("group", "", Any, "")]), "default");
    let slow = tokio::spawn(async move { Ampoule::review(&mut late, &slow).await });
    more_admissions(&ampoule, "the load while draining").await?;
    stop.store(true, Ordering::Relaxed);
    let mut answered = 0;
    while let Some(count) = load.join_next().await {
        answered += count?.context("a request of the load")?;
    }
    assert!(answered > 8, "{answered} requests are too few for a load");

    // The slow request is answered after the delay's end, within the grace period.
    let response = slow.await?.context("the slow request")?;
    assert!(signalled.elapsed() > Duration::from_secs(3), "the slow request was not slow: {:?}", signalled.elapsed());
    assert_eq!((response.allowed, response.code), (false, 503), "{}", response.message);
    let exit = ampoule.wait().await?;
    exit.ensure_clean()?;
    assert!(
        signalled.elapsed() < Duration::from_secs(12),
        "an idle connection delayed the end: {:?}",
        signalled.elapsed()
    );
    Ok(())
}

#[tokio::test]
async fn sigterm_ends_an_idle_process_at_once() -> Result<()> {
    let ampoule = Ampoule::start(&v1()).await?;
    let _idle = ampoule.connect().await?;
    let signalled = Instant::now();
    ampoule.stop().await?.ensure_clean()?;
    assert!(signalled.elapsed() < Duration::from_secs(5), "{:?}", signalled.elapsed());
    Ok(())
}
