//! A pod whose variables have old values: its sidecar reports the change in the pod's status, the
//! webhook counts the pod, and restarts its workload once.
//!
//! On a node without a kubelet, the test is the kubelet: it starts containers that end again, and
//! writes the pod's status.

use std::time::{Duration, Instant};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{ApiServer, EndedContainer, Namespace, RunningPod, asking, eventually};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::place::{APP, Place, PodStore, with_vault};
use crate::{
    rotation::{controlled_by, create, ensure_counts, searched},
    support::request,
};

/// Time for the sidecar to see a change twice: its interval is ten seconds.
const SEEN_TWICE: Duration = Duration::from_secs(60);
/// The annotation of a pod template that a restart sets.
const REPLACED_UNTIL: &str = "ampoule.dev/replaced-until";

#[test]
fn a_pod_with_old_variables_is_counted_and_its_workload_restarted_once() {
    with_vault(
        "pod_fetch::reports::a_pod_with_old_variables_is_counted_and_its_workload_restarted_once",
        report_changes,
    );
}

async fn report_changes(vault: &PodStore) -> Result<()> {
    let mut place = Place::new("pod-reports", vault).await?;
    place.further = "rotation: { intervalSeconds: 1, rollout: { enabled: true, minPodAgeSeconds: 0 } }\n";
    let pods = &place.namespace;
    let ampoule = place.webhook("file-key, refreshSeconds: 10").await?;
    let web = create::<Deployment>(pods, "web", json!(null)).await?;
    let set = create::<ReplicaSet>(pods, "web-1", controlled_by("apps/v1", "Deployment", ("web", &web))).await?;
    let owners = controlled_by("apps/v1", "ReplicaSet", ("web-1", &set));
    let mutated = place.mutate(&ampoule, &pod("web-1-a", &owners)).await?;
    pods.create_pod(&stored(&mutated).await?).await?;
    pods.create_pod(&stranger(&mutated).await?).await?;
    let node = place.node()?;
    let mut running = node.start(mutated, pods).await?;
    write_status(&running, pods, "web-1-a").await?;
    ensure_counts(&ampoule, [1.0, 0.0, 0.0]).await?;
    assert_eq!(replaced_until(pods).await?, None, "nothing is old");

    vault.asked.lock().expect("no panic").changes += 1;
    let ended = end_of_sidecar(&mut running).await?;
    let expected = "values of variables changed at ";
    ensure!(ended.status == 0 && ended.reason.starts_with(expected), "{ended:?}");
    ensure!(ended.reason.ends_with("Z: changing/password"), "the dynamic value is no change: {ended:?}");
    ensure!(ended.output.contains(r#""message":"variables changed""#), "{ended:?}");
    write_status(&running, pods, "web-1-a").await?;
    write_status(&running, pods, "stranger").await?;
    ensure_counts(&ampoule, [0.0, 1.0, 0.0]).await?;
    let until = eventually("the restart", SEEN_TWICE, async || replaced_until(pods).await?.context("no annotation"));
    until.await.with_context(|| ampoule.log().unwrap_or_default())?;

    // The sidecar is killed: its next end still shows the report.
    running.send("ampoule-refresh", "KILL")?;
    let killed = end_of_sidecar(&mut running).await?;
    assert_eq!((killed.status, killed.reason.as_str()), (137, ended.reason.as_str()), "{killed:?}");
    write_status(&running, pods, "web-1-a").await?;
    searched(&ampoule).await?;
    ensure_counts(&ampoule, [0.0, 1.0, 0.0]).await?;
    // A container that starts again reads the new value, and is not old.
    running.send("app", "TERM")?;
    let [first] = &ends(&mut running).await?[..] else { anyhow::bail!("one end") };
    assert_eq!((first.name.as_str(), first.output.as_str()), ("app", "zq7canarybird-0\n"));
    write_status(&running, pods, "web-1-a").await?;
    ensure_counts(&ampoule, [1.0, 0.0, 0.0]).await?;
    let is_on_kubelet = running.writes_status_of("web-1-a");
    let stopped = running.stop().await?;
    let again = stopped.iter().find(|ended| ended.name == "app").context("the app")?;
    assert_eq!(again.output, "zq7canarybird-1\n");

    // The pod of the restart has the new value, and restarts nothing.
    if !is_on_kubelet {
        pods.api::<Pod>().delete("web-1-a", &DeleteParams::default().grace_period(0)).await?;
    }
    let mutated = place.mutate(&ampoule, &pod("web-2-a", &owners)).await?;
    pods.create_pod(&stored(&mutated).await?).await?;
    let node = place.node()?;
    let running = node.start(mutated, pods).await?;
    write_status(&running, pods, "web-2-a").await?;
    ensure_counts(&ampoule, [1.0, 0.0, 0.0]).await?;
    searched(&ampoule).await?;
    assert_eq!(ampoule.metric("ampoule_rotation_rollouts_total{result=\"restarted\"}").await?, 1.0);
    for ended in running.stop().await?.iter().chain([&ended, &killed]).filter(|ended| ended.name != "app") {
        ensure!(!format!("{ended:?}").contains("zq7canarybird"), "{ended:?}");
    }
    let exit = ampoule.stop().await?;
    ensure!(!exit.log.contains("zq7canarybird"), "{}", exit.log);
    exit.ensure_clean()
}

/// A pod with a secret that changes, and one that differs at each read.
fn pod(name: &str, owners: &Value) -> Value {
    let requests = ["changing", "dynamic"].map(|group| request(group, "password", EnvVar, &group.to_uppercase()));
    let mut pod = asking("app", requests);
    pod["metadata"]["name"] = json!(name);
    pod["spec"]["serviceAccountName"] = json!("default");
    pod["metadata"]["ownerReferences"] = owners.clone();
    let script = "trap 'exit 0' TERM; printenv CHANGING; while :; do sleep 0.1; done";
    pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", script] });
    pod
}

/// A pod with the same containers and an annotation that the webhook did not write.
async fn stranger(mutated: &Value) -> Result<Value> {
    let mut pod = stored(mutated).await?;
    let forged = json!({ "versions": [], "reports": true, "seal": "0".repeat(32) });
    pod["metadata"] = json!({ "name": "stranger", "annotations": { "ampoule.dev/versions": forged.to_string() } });
    Ok(pod)
}

/// The pod as the API server has it: an earlier one has no `fileKeyRef`.
async fn stored(mutated: &Value) -> Result<Value> {
    let mut pod = mutated.clone();
    if !ApiServer::shared().await?.has_version((1, 35), "a stored pod with fileKeyRef") {
        let variables = pod["spec"]["containers"][0]["env"].as_array_mut().context("variables")?;
        variables.retain(|variable| variable["valueFrom"]["fileKeyRef"].is_null());
    }
    Ok(pod)
}

/// Waits until containers have ended, and starts them again.
async fn ends(running: &mut RunningPod<'_>) -> Result<Vec<EndedContainer>> {
    let start = Instant::now();
    loop {
        let ended = running.restart_ended().await?;
        if !ended.is_empty() {
            return Ok(ended);
        }
        ensure!(start.elapsed() < SEEN_TWICE, "no container ended: {}", running.status()?);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until the sidecar has ended, and starts it again.
async fn end_of_sidecar(running: &mut RunningPod<'_>) -> Result<EndedContainer> {
    let mut ended = ends(running).await?;
    ensure!(ended.len() == 1 && ended[0].name == "ampoule-refresh", "{ended:?}");
    ended.pop().context("one end")
}

/// Writes the status of the pod, unless a kubelet does.
async fn write_status(running: &RunningPod<'_>, pods: &Namespace, name: &str) -> Result<()> {
    let status = running.status()?;
    ensure!(!status.to_string().contains("zq7canarybird"), "{status}");
    if running.writes_status_of(name) {
        return Ok(());
    }
    let patch = Patch::Merge(json!({ "status": status }));
    pods.api::<Pod>().patch_status(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn replaced_until(pods: &Namespace) -> Result<Option<String>> {
    let object = serde_json::to_value(pods.api::<Deployment>().get("web").await?)?;
    let annotation = &object["spec"]["template"]["metadata"]["annotations"][REPLACED_UNTIL];
    Ok(annotation.as_str().map(str::to_owned))
}
