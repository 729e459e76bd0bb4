//! The start of pods that fetch: its time beside that of a pod without secrets, ten secrets with
//! one login, and a store that is down for minutes.

use std::{
    env,
    time::{Duration, Instant},
};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{
    asking,
    network::{in_own_network, in_own_network_for, show},
};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::place::{APP, Place, PodStore, VALUE};
use crate::support::request;

/// Starts of each pod whose times are compared.
const STARTS: usize = 5;
/// Secrets of a pod.
const SECRETS: usize = 10;
/// The time for which the store is down, in seconds. The default fits into a run of all tests.
const OUTAGE: &str = "AMPOULE_POD_OUTAGE_SECONDS";

#[test]
fn ten_secrets_cost_one_login_and_the_start_is_compared_with_that_of_a_pod_without_secrets() {
    let name =
        "pod_fetch::start::ten_secrets_cost_one_login_and_the_start_is_compared_with_that_of_a_pod_without_secrets";
    in_own_network(name, || {
        let vault = PodStore::vault();
        Runtime::new().expect("a runtime").block_on(compare_starts(&vault)).expect("the pods run");
    });
}

async fn compare_starts(vault: &PodStore) -> Result<()> {
    let place = Place::new("pod-start", vault).await?;
    let ampoule = place.webhook("both").await?;
    let names = (0..SECRETS).map(|number| format!("V{number}"));
    let asking_all = asking("app", names.map(|name| request(&format!("many/{name}"), "password", EnvVar, &name)));
    let pod = place.mutate(&ampoule, &running(asking_all, "printenv V0 V9")).await?;
    let ended = place.run(&pod).await?;
    assert_eq!(ended.last().map(|app| app.output.as_str()), Some(&*format!("{VALUE}\n{VALUE}\n")), "{ended:?}");
    let asked = std::mem::take(&mut *vault.asked.lock().expect("no panic"));
    assert_eq!((asked.logins, asked.reads.len()), (1, SECRETS), "{:?}", asked.reads);

    let plain = running(asking("app", [] as [String; 0]), "true");
    let mut with_empty = plain.clone();
    with_empty["spec"]["initContainers"] = json!([{ "name": "empty", "image": APP, "command": ["/bin/true"] }]);
    let (mut without, mut empty, mut with) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        without.push(time(&place, &plain).await?);
        empty.push(time(&place, &with_empty).await?);
        with.push(time(&place, &pod).await?);
    }
    let (without, empty, with) = (median(without), median(empty), median(with));
    // A figure, not a limit: the machine runs other tests at the same time.
    show(&format!(
        "the containers of a pod with {SECRETS} secrets end after {with:.0?}, those of one without after {without:.0?}: \
         {:.0?} more, {:.1} times; with an init container that does nothing after {empty:.0?}",
        with.saturating_sub(without),
        with.as_secs_f64() / without.as_secs_f64()
    ));
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

/// The time until all containers of a pod have ended.
async fn time(place: &Place<'_>, pod: &Value) -> Result<Duration> {
    let start = Instant::now();
    let ended = place.run(pod).await?;
    let time = start.elapsed();
    ensure!(ended.last().context("no container ran")?.status == 0, "{ended:?}");
    Ok(time)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
