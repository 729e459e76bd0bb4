//! Pods with old values, with a real API server: the annotation with versions, the metric, and the
//! restart of workloads.
//!
//! The API server has no controllers, so the tests create ReplicaSets and pods as these do.

use std::{fmt, time::Duration};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, Namespace, eventually};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        core::v1::Pod,
    },
    serde::{Serialize, de::DeserializeOwned},
};
use kube::{
    Resource,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    delivery::{CANARY, Place, task},
    support::request,
};

/// Time for searches, whose interval is one second.
const SEARCHED: Duration = Duration::from_secs(60);
/// A time in which several searches end.
const SEVERAL: Duration = Duration::from_secs(6);
/// The annotations of a pod and of a pod template.
const VERSIONS: &str = "ampoule.dev/versions";
const RESTARTED_FOR: &str = "ampoule.dev/restarted-for";

/// A kind of objects with a pod template.
pub(crate) trait Workload:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + fmt::Debug + DeserializeOwned + Serialize
{
}

impl Workload for Deployment {}
impl Workload for ReplicaSet {}
impl Workload for StatefulSet {}
impl Workload for DaemonSet {}

/// The section `rotation` of these tests.
fn rotation(rollout: &str) -> String {
    format!("{{}}\nrotation: {{ intervalSeconds: 1, rollout: {{ {rollout} }} }}")
}

/// A reference to the controller of an object.
pub(crate) fn controlled_by(api_version: &str, kind: &str, (name, uid): (&str, &str)) -> Value {
    json!([{ "apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true }])
}

/// Creates a workload or a ReplicaSet, and returns its UID.
pub(crate) async fn create<K: Workload>(place: &Namespace, name: &str, owners: Value) -> Result<String> {
    let labels = json!({ "app": name });
    let object: K = serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": K::kind(&()),
        "metadata": { "name": name, "ownerReferences": owners },
        "spec": {
            "selector": { "matchLabels": labels }, "serviceName": "none",
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "main", "image": "busybox" }] },
            },
        },
    }))?;
    let created = place.api::<K>().create(&PostParams::default(), &object).await?;
    created.meta().uid.clone().context("a UID")
}

/// Creates the pod of a controller.
async fn create_pod(place: &Place, name: &str, owners: Value, annotations: &[(&str, &str)]) -> Result<Value> {
    let mut pod = task(name, &[request("", "Key", EnvVar, "TOKEN")]);
    pod["metadata"]["ownerReferences"] = owners;
    for (key, value) in annotations {
        pod["metadata"]["annotations"][*key] = json!(value);
    }
    place.pods.create_pod(&pod).await
}

/// The annotation of the pod template by which a workload was restarted.
async fn restarted_for<K: Workload>(place: &Namespace, name: &str) -> Result<Option<String>> {
    let object = serde_json::to_value(place.api::<K>().get(name).await?)?;
    let annotation = &object["spec"]["template"]["metadata"]["annotations"][RESTARTED_FOR];
    Ok(annotation.as_str().map(str::to_owned))
}

/// Waits for the number of pods in each state: current, old and unknown.
pub(crate) async fn ensure_counts(ampoule: &Ampoule, expected: [f64; 3]) -> Result<()> {
    eventually("the number of pods", SEARCHED, async || {
        let mut counts = Vec::new();
        for state in ["current", "old", "unknown"] {
            counts.push(ampoule.metric(&format!("ampoule_rotation_pods{{state=\"{state}\"}}")).await?);
        }
        ensure!(counts == expected, "{counts:?} instead of {expected:?}");
        Ok(())
    })
    .await
}

/// Waits until a search that began after this call has ended.
pub(crate) async fn searched(ampoule: &Ampoule) -> Result<()> {
    let series = "ampoule_rotation_searches_total{result=\"done\"}";
    let before = ampoule.metric(series).await?;
    eventually("two searches", SEARCHED, async || {
        ensure!(ampoule.metric(series).await? >= before + 2.0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn pods_with_old_values_are_counted_and_nothing_is_restarted_by_default() -> Result<()> {
    let place = Place::new("rotation-count").await?;
    let ampoule = place.start(&rotation(""), "").await?;
    place.pods.register(&ampoule).await?;
    let deployment = create::<Deployment>(&place.pods, "web", json!(null)).await?;
    let owners = controlled_by("apps/v1", "Deployment", ("web", &deployment));
    let created = create_pod(&place, "one", owners, &[]).await?;
    let versions = created["metadata"]["annotations"][VERSIONS].as_str().context("versions")?.to_owned();
    ensure!(versions.contains("embedded") && !versions.contains(CANARY), "{versions}");
    // A second review of the pod changes nothing.
    let (annotations, labels) = (&created["metadata"]["annotations"], &created["metadata"]["labels"]);
    let mut again = created.clone();
    again["metadata"] = json!({ "name": "again", "annotations": annotations, "labels": labels });
    let again = place.pods.dry_run_pod(&again).await??;
    assert_eq!(again["metadata"]["annotations"][VERSIONS], versions.as_str());
    ensure_counts(&ampoule, [1.0, 0.0, 0.0]).await?;

    place.set("Key", "second value").await?;
    ensure_counts(&ampoule, [0.0, 1.0, 0.0]).await?;
    // The author cannot write the annotation of the webhook: a new pod gets its own.
    let forged = create_pod(&place, "two", json!(null), &[(VERSIONS, &versions)]).await?;
    assert_ne!(forged["metadata"]["annotations"][VERSIONS], versions.as_str());
    ensure_counts(&ampoule, [1.0, 1.0, 0.0]).await?;
    // A promise that someone writes into a running pod is not fetched.
    let other = versions.replace("Key", "Other");
    ensure!(other != versions, "{versions}");
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { VERSIONS: other } } }));
    place.pods.api::<Pod>().patch("two", &PatchParams::default(), &patch).await?;
    ensure_counts(&ampoule, [0.0, 1.0, 0.0]).await?;

    assert_eq!(restarted_for::<Deployment>(&place.pods, "web").await?, None);
    let exit = ampoule.stop().await?;
    assert!(!exit.log.contains(CANARY) && !exit.log.contains("second value"), "a value is in the log");
    exit.ensure_clean()
}

#[tokio::test]
async fn workloads_with_old_pods_are_restarted_once_for_each_change() -> Result<()> {
    let place = Place::new("rotation-rollout").await?;
    let (pods, apps) = (&place.pods, "apps/v1");
    let rollout = "enabled: true, minPodAgeSeconds: 0, workloadsPerInterval: 2";
    let ampoule = place.start(&rotation(rollout), "").await?;
    pods.register(&ampoule).await?;
    let web = create::<Deployment>(pods, "web", json!(null)).await?;
    let set = create::<ReplicaSet>(pods, "web-1", controlled_by(apps, "Deployment", ("web", &web))).await?;
    create_pod(&place, "web-1-a", controlled_by(apps, "ReplicaSet", ("web-1", &set)), &[]).await?;
    let database = create::<StatefulSet>(pods, "db", json!(null)).await?;
    create_pod(&place, "db-0", controlled_by(apps, "StatefulSet", ("db", &database)), &[]).await?;
    let agent = create::<DaemonSet>(pods, "agent", json!(null)).await?;
    create_pod(&place, "agent-a", controlled_by(apps, "DaemonSet", ("agent", &agent)), &[]).await?;
    // Not restarted: an operator's workload, an excluded pod, an older object of the name.
    let operated = controlled_by("example.com/v1", "Database", ("db", &database));
    let operated = create::<StatefulSet>(pods, "operated", operated).await?;
    create_pod(&place, "operated-0", controlled_by(apps, "StatefulSet", ("operated", &operated)), &[]).await?;
    let excluded = create::<Deployment>(pods, "excluded", json!(null)).await?;
    let owners = controlled_by(apps, "Deployment", ("excluded", &excluded));
    create_pod(&place, "excluded-a", owners, &[("ampoule.dev/rollout", "false")]).await?;
    create::<Deployment>(pods, "renamed", json!(null)).await?;
    create_pod(&place, "renamed-a", controlled_by(apps, "Deployment", ("renamed", &web)), &[]).await?;
    ensure_counts(&ampoule, [6.0, 0.0, 0.0]).await?;
    searched(&ampoule).await?;
    assert_eq!(restarted_for::<Deployment>(pods, "web").await?, None, "nothing is old");

    place.set("Key", "second value").await?;
    let first = eventually("the restarts", SEARCHED, async || {
        let web = restarted_for::<Deployment>(pods, "web").await?.context("web")?;
        restarted_for::<StatefulSet>(pods, "db").await?.context("db")?;
        restarted_for::<DaemonSet>(pods, "agent").await?.context("agent")?;
        Ok(web)
    })
    .await
    .with_context(|| ampoule.log().unwrap_or_default())?;
    searched(&ampoule).await?;
    let restarts = "ampoule_rotation_rollouts_total{result=\"restarted\"}";
    assert_eq!(ampoule.metric(restarts).await?, 3.0);
    assert_eq!(restarted_for::<StatefulSet>(pods, "operated").await?, None);
    assert_eq!(restarted_for::<Deployment>(pods, "excluded").await?, None);
    assert_eq!(restarted_for::<Deployment>(pods, "renamed").await?, None);

    // An operator that removes the annotation causes no second restart, the next value does.
    let removed = json!({ "spec": { "template": { "metadata": { "annotations": null } } } });
    pods.api::<Deployment>().patch("web", &PatchParams::default(), &Patch::Merge(removed)).await?;
    tokio::time::sleep(SEVERAL).await;
    assert_eq!(restarted_for::<Deployment>(pods, "web").await?, None);
    place.set("Key", "third value").await?;
    let second = eventually("the next restart", SEARCHED, async || {
        restarted_for::<Deployment>(pods, "web").await?.context("web")
    })
    .await?;
    assert_ne!(second, first);
    let exit = ampoule.stop().await?;
    assert!(exit.log.contains("restarts a workload whose pods have old values"), "{}", exit.log);
    exit.ensure_clean()
}

#[tokio::test]
async fn a_young_pod_and_an_unavailable_store_restart_nothing() -> Result<()> {
    let place = Place::new("rotation-young").await?;
    let ampoule = place.start(&rotation("enabled: true, minPodAgeSeconds: 600"), "").await?;
    place.pods.register(&ampoule).await?;
    let web = create::<Deployment>(&place.pods, "web", json!(null)).await?;
    create_pod(&place, "young", controlled_by("apps/v1", "Deployment", ("web", &web)), &[]).await?;
    place.set("Key", "second value").await?;
    ensure_counts(&ampoule, [0.0, 1.0, 0.0]).await?;
    searched(&ampoule).await?;
    place.remove("Key").await?;
    ensure_counts(&ampoule, [0.0, 0.0, 1.0]).await?;
    searched(&ampoule).await?;
    assert_eq!(restarted_for::<Deployment>(&place.pods, "web").await?, None);
    ampoule.stop().await?.ensure_clean()
}
