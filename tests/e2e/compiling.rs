//! A component that is not built in is compiled by a separate process with its own memory limit,
//! and the serving process stays within the limit of the manifests.
//!
//! The component is as large as one made from JavaScript. The tests in `authors` compile components
//! of the real tools the same way.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_engine::digest;
use ampoule_tests::{Ampoule, Mounted, Review, asking, enlarge, eventually};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    reload,
    support::{config, request},
};

/// The memory of the serving process within the limit of `deploy/kustomize/base/deployment.yaml`.
const SERVING_KIB: u64 = 256 << 10;
/// The rest of the limit.
const COMPILING_KIB: u64 = 512 << 10;
/// Limit for a build without optimisation on a busy machine.
const COMPILED: Duration = Duration::from_secs(300);

/// The status of the plugin under test.
async fn mine(ampoule: &Ampoule) -> Result<Value> {
    let plugins: Vec<Value> = serde_json::from_slice(&ampoule.admin("/plugins").await?.body)?;
    plugins.into_iter().find(|plugin| plugin["name"] == "mine").context("the plugin is listed")
}

/// Requests a secret repeatedly; returns the number of answers and the longest time.
async fn keep_asking(ampoule: Arc<Ampoule>, stop: Arc<AtomicBool>) -> Result<(u32, Duration)> {
    let review = Review::of(&asking("task", [request("group", "key", EnvVar, "")]), "default");
    let (mut count, mut longest, mut connection) = (0, Duration::ZERO, ampoule.connect().await?);
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let response = Ampoule::review(&mut connection, &review).await?;
        ensure!(response.allowed && serde_json::to_string(&response.patch)?.contains("\"ECHO\""), "{response:?}");
        (count, longest) = (count + 1, longest.max(begun.elapsed()));
        sleep(Duration::from_millis(20)).await;
    }
    Ok((count, longest))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_of_12_mebibytes_is_compiled_in_a_process_of_its_own_while_pods_are_served() -> Result<()> {
    let small = ampoule_test_guests::guest("echo");
    let large = enlarge(small, 12 << 20);
    let mut plugins = Mounted::new(&[("mine.wasm", small)])?;
    let (file, cache) = (plugins.path().join("mine.wasm"), tempfile::tempdir()?);
    let text = |memory: u32| {
        let injector =
            format!("  - {{ name: mine, component: 'file:{}', limits: {{ deadlineMillis: 5000 }} }}\n", file.display());
        let cache = cache.path().join("cache");
        format!(
            "engine: {{ compileMemoryMiB: {memory}, cacheDirectory: {} }}\n{}",
            cache.display(),
            config("flyte-v1", &injector)
        )
    };
    let mut mounted = Mounted::new(&[("ampoule.yaml", text(128))])?;
    let mut command = Ampoule::command()?;
    command.arg("serve").arg("--config").arg(mounted.path().join("ampoule.yaml"));
    let ampoule = Arc::new(reload::start(command, &crate::certificates::fresh()?).await?);
    let stop = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(keep_asking(Arc::clone(&ampoule), Arc::clone(&stop)));

    plugins.swap(&[("mine.wasm", &large)])?;
    let refusal = eventually("a refusal", COMPILED, async || {
        mine(&ampoule).await?["error"].as_str().map(str::to_owned).context("none yet")
    });
    let sha256 = digest(&large);
    let expected = format!(
        "plugin mine (file:{}, sha256:{}): the component cannot be compiled: the compiler needs more than 128 MiB of memory \
         (engine.compileMemoryMiB)",
        file.display(),
        &sha256[..12]
    );
    assert_eq!(refusal.await?, expected);
    assert_eq!(mine(&ampoule).await?["serving"]["digest"], json!(digest(small)), "the previous plugin still serves");

    mounted.swap(&[("ampoule.yaml", text(512))])?;
    let mut compiler = 0;
    eventually("the large component", COMPILED, async || {
        compiler = ampoule.children_peak_kib()?.into_iter().fold(compiler, u64::max);
        let mine = mine(&ampoule).await?;
        ensure!(mine["serving"]["digest"] == sha256 && mine["state"] == "loaded", "{mine}");
        Ok(())
    })
    .await?;
    stop.store(true, Ordering::Relaxed);
    let (count, longest) = asking.await?.context("no pod is refused")?;
    let served = ampoule.peak_kib()?;
    println!(
        "{count} pods, the slowest after {longest:?}; the compiler took {} MiB, the serving process {} MiB at most",
        compiler >> 10,
        served >> 10
    );
    ensure!(served < SERVING_KIB, "the process that serves took {served} KiB");
    ensure!((1..COMPILING_KIB).contains(&compiler), "the process that compiles took {compiler} KiB");
    ensure!(count > 50, "{count} pods are too few for a load");
    let kept = fs::read_dir(cache.path().join("cache"))?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    ensure!(kept.filter(|name| name.starts_with(&sha256)).count() == 2, "it is cached with a checksum");
    let ampoule = Arc::into_inner(ampoule).context("no other task holds it")?;
    ampoule.stop().await?.ensure_clean()
}
