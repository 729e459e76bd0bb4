//! The start of pods that fetch: ten secrets with one login, and a store that is down for minutes.
//!
//! The benchmark `pod` compares the time with that of a pod without secrets.

use std::{
    env,
    time::{Duration, Instant},
};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{
    asking,
    network::{in_own_network_for, show},
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::place::{APP, Place, PodStore, VALUE, with_vault};
use crate::support::request;

/// Secrets of a pod.
const SECRETS: usize = 10;
/// The time for which the store is down, in seconds. The default fits into a run of all tests.
const OUTAGE: &str = "AMPOULE_POD_OUTAGE_SECONDS";

#[test]
fn ten_secrets_cost_one_login() {
    with_vault("pod_fetch::start::ten_secrets_cost_one_login", fetch_ten);
}

async fn fetch_ten(vault: &PodStore) -> Result<()> {
    let place = Place::new("pod-start", vault).await?;
    let ampoule = place.webhook("both").await?;
    let names = (0..SECRETS).map(|number| format!("V{number}"));
    let asking_all = asking("app", names.map(|name| request(&format!("many/{name}"), "password", EnvVar, &name)));
    let pod = place.mutate(&ampoule, &running(asking_all, "printenv V0 V9")).await?;
    let ended = place.run(&pod).await?;
    assert_eq!(ended.last().map(|app| app.output.as_str()), Some(&*format!("{VALUE}\n{VALUE}\n")), "{ended:?}");
    let asked = std::mem::take(&mut *vault.asked.lock().expect("no panic"));
    assert_eq!((asked.logins, asked.reads.len()), (1, SECRETS), "{:?}", asked.reads);
    ampoule.stop().await?.ensure_clean()
}

#[test]
fn a_pod_waits_for_a_store_that_is_down_and_then_starts() {
    let name = "pod_fetch::start::a_pod_waits_for_a_store_that_is_down_and_then_starts";
    in_own_network_for(name, outage() + Duration::from_secs(180), || {
        let vault = PodStore::vault();
        Runtime::new().expect("a runtime").block_on(wait_for_store(&vault)).expect("the pod runs");
    });
}

async fn wait_for_store(vault: &PodStore) -> Result<()> {
    let outage = outage();
    let seconds = outage.as_secs();
    let place = Place::new("pod-outage", vault).await?;
    let ampoule = place.webhook_with("file-key", seconds + 120).await?;
    let asking = asking("app", [request("outage", "password", EnvVar, "X")]);
    let pod = place.mutate(&ampoule, &running(asking, "printenv X")).await?;
    let start = Instant::now();
    vault.asked.lock().expect("no panic").down_until = Some(start + outage);
    let ended = place.run(&pod).await?;
    let waited = start.elapsed();
    assert_eq!(ended.last().map(|app| app.output.as_str()), Some(&*format!("{VALUE}\n")), "{ended:?}");
    ensure!(waited >= outage, "the store was down for {outage:?}, the pod ended after {waited:?}");
    let reads = vault.asked.lock().expect("no panic").reads.len();
    // Back-off: the pauses grow to at most half a minute.
    ensure!(reads < 20 + usize::try_from(seconds / 10)?, "{reads} requests to a store that is down");
    show(&format!("the store was down for {outage:.0?}; the pod ended after {waited:.1?}, with {reads} requests"));
    ampoule.stop().await?.ensure_clean()
}

/// The time for which the store is down.
#[allow(clippy::disallowed_methods, reason = "a measurement on demand is longer than the test")]
fn outage() -> Duration {
    Duration::from_secs(env::var(OUTAGE).ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(8))
}

/// The pod with a container that runs a script.
fn running(mut pod: Value, script: &str) -> Value {
    pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", script] });
    pod
}
