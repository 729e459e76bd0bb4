//! Shared by the attacks: a process under attack, and a second client that must be served.
//!
//! The limits are those of the chart, and generous in time, because the machine may be busy.

use std::time::{Duration, Instant};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, Namespace, Review, annotation, asking, eventually};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::support::v1;

/// The memory limit of the chart (`resources.limits.memory`).
pub(super) const CHART_LIMIT_KIB: u64 = 768 << 10;

/// Limit for one answer to a good client during an attack. The API server waits for 10 s.
const SERVED: Duration = Duration::from_secs(5);

/// A process with the built-in injector, without its verbose log.
pub(super) async fn started() -> Result<Ampoule> {
    Ampoule::start_logging(&v1(), "info").await
}

/// A pod with this number of containers and of secrets as variables.
pub(super) fn large_pod(containers: usize, secrets: usize) -> Value {
    let requests = (0..secrets).map(|i| annotation("group", &format!("key-{i}"), EnvVar));
    let mut pod = asking("large", requests);
    pod["spec"]["containers"] = (0..containers).map(|_| json!({})).collect();
    pod
}

/// A good client creates pods until the attack ends. Every one of them is served in time.
pub(super) async fn serve_during<T>(ampoule: &Ampoule, attack: impl Future<Output = Result<T>>) -> Result<T> {
    let mut attack = std::pin::pin!(attack);
    loop {
        let pause = tokio::time::sleep(Duration::from_millis(20));
        tokio::select! {
            ended = attack.as_mut() => return ended,
            () = pause => ensure_served(ampoule).await?,
        }
    }
}

/// Verifies that a new client gets its secrets in time.
pub(super) async fn ensure_served(ampoule: &Ampoule) -> Result<()> {
    let review = Review::of(&asking("good", [annotation("group", "key", EnvVar)]), "default");
    let begun = Instant::now();
    let response = ampoule.review_once(&review).await?;
    ensure!(response.allowed && !response.patch.0.is_empty(), "a good pod was not served: {response:?}");
    ensure!(begun.elapsed() < SERVED, "a good pod was served after {:?}", begun.elapsed());
    Ok(())
}

/// Verifies that the API server's pod gets its secrets.
pub(super) async fn served(namespace: &Namespace) -> Result<()> {
    let pod = asking("good", [annotation("group", "key", EnvVar)]);
    eventually("a good pod", Duration::from_secs(30), async || {
        let created = namespace.dry_run_pod(&pod).await??;
        ensure!(created.to_string().contains("secretKeyRef"), "{created}");
        Ok(())
    })
    .await
}

/// Verifies that the process stayed below the chart's memory limit, and still serves.
pub(super) async fn ensure_survived(ampoule: Ampoule) -> Result<()> {
    ensure_served(&ampoule).await?;
    let peak = ampoule.peak_kib()?;
    ensure!(peak < CHART_LIMIT_KIB, "the peak of the memory was {} MiB", peak >> 10);
    ampoule.stop().await?.ensure_clean()
}
