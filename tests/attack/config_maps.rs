//! A writer of ConfigMaps: more injectors than the process may keep.
//!
//! The process starts with them already in the cluster, since a restart must not be the end.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, Namespace, asking, enlarge, eventually, free_ports};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::support::CHART_LIMIT_KIB;
use crate::{cluster::Installed, support::request};

/// Size of a component. The API server accepts ConfigMaps of 1 MiB, in base64.
const COMPONENT: usize = 700 << 10;

/// ConfigMaps that the process keeps.
const KEPT: usize = 64;
/// ConfigMaps above the bound that it reports by name.
const NAMED: usize = 64;
/// Number of ConfigMaps that are created at the same time.
const AT_ONCE: usize = 4;

/// Creates the ConfigMaps.
async fn create_all(namespace: &Namespace, count: usize) -> Result<()> {
    let mut tasks = JoinSet::new();
    for first in 0..AT_ONCE {
        let namespace = namespace.clone();
        tasks.spawn(async move {
            for number in (first..count).step_by(AT_ONCE) {
                create(&namespace, number).await?;
            }
            Ok(())
        });
    }
    tasks.join_all().await.into_iter().collect()
}

/// Creates a labelled ConfigMap whose component is not WebAssembly.
async fn create(namespace: &Namespace, number: usize) -> Result<()> {
    create_with(namespace, &format!("flood-{number:03}"), &vec![u8::try_from(number % 256)?; COMPONENT]).await
}

async fn create_with(namespace: &Namespace, name: &str, component: &[u8]) -> Result<()> {
    let map = json!({
        "metadata": { "name": name, "labels": { "ampoule.dev/injector": "true" } },
        "binaryData": { "plugin.wasm": data_encoding::BASE64.encode(component) },
        "data": { "injector.yaml": "limits: { deadlineMillis: 5000 }" },
    });
    let map: ConfigMap = serde_json::from_value(map)?;
    namespace.api::<ConfigMap>().create(&PostParams::default(), &map).await?;
    Ok(())
}

/// Compresses a component.
fn gzip(component: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new("gzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("a pipe")?.write_all(component)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "gzip: {}", output.status);
    Ok(output.stdout)
}

/// The state of each plugin by its name.
async fn states(ampoule: &Ampoule) -> Result<BTreeMap<String, String>> {
    let states: Vec<Value> = serde_json::from_str(&ampoule.admin("/plugins").await?.text())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(states.iter().map(|state| (text(&state["name"]), text(&state["state"]))).collect())
}

/// Number 5: plugins that compile slowly delayed every change by 71 s. The bound is not a time: a
/// change is in effect while all but one of the slow plugins are still being loaded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_config_maps_do_not_delay_changes() -> Result<()> {
    const SLOW: usize = 4;
    let [port] = free_ports()?;
    let installed = Installed::new("map-slow", port, "{ mode: cluster, secretName: map-slow }").await?;
    let other = "  - { name: other, component: builtin:k8s, required: false }\n";
    installed.configure_with(other)?;
    installed.reconfigure("globalSecrets:", "plugins: { configMaps: true }\nglobalSecrets:")?;
    let echo = ampoule_test_guests::guest("echo");
    for number in 0..SLOW {
        // The sizes differ, so that the cache has no component for another one.
        let component = gzip(&enlarge(echo, (12 << 20) + number * 4096))?;
        create_with(&installed.namespace, &format!("slow-{number}"), &component).await?;
    }
    let ampoule = installed.start(port).await?;
    eventually("the first compilation", Duration::from_secs(60), async || {
        ensure!(!ampoule.children_peak_kib()?.is_empty(), "{:?}", states(&ampoule).await?);
        Ok(())
    })
    .await?;
    let slow = async || -> Result<usize> {
        let states = states(&ampoule).await?;
        Ok(states.iter().filter(|(name, state)| name.starts_with("slow-") && *state == "loading").count())
    };
    installed.reconfigure(other, "")?;
    eventually("the removal", Duration::from_secs(60), async || {
        ensure!(!states(&ampoule).await?.contains_key("other"));
        Ok(())
    })
    .await?;
    ensure!(slow().await? >= SLOW - 1, "the removal waited: {:?}", states(&ampoule).await?);
    create_with(&installed.namespace, "new", echo).await?;
    eventually("the new ConfigMap", Duration::from_secs(120), async || {
        let states = states(&ampoule).await?;
        ensure!(states.get("new").is_some_and(|state| state == "loaded"), "{states:?}");
        Ok(())
    })
    .await?;
    ensure!(slow().await? >= SLOW - 1, "the new ConfigMap waited: {:?}", states(&ampoule).await?);
    ampoule.stop().await?.ensure_clean()
}

/// Number 5: 300 ConfigMaps of 1 MB ended the process at every start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_large_config_maps_do_not_exceed_the_memory() -> Result<()> {
    let [port] = free_ports()?;
    let installed = Installed::new("map-flood", port, "{ mode: cluster, secretName: map-flood }").await?;
    installed.reconfigure("globalSecrets:", "plugins: { configMaps: true }\nglobalSecrets:")?;
    create_all(&installed.namespace, 300).await?;
    let ampoule = installed.start(port).await?;
    let pod = asking("good", [request("group", "key", EnvVar, "")]);
    eventually("a good pod", Duration::from_secs(30), async || {
        installed.namespace.dry_run_pod(&pod).await??;
        Ok(())
    })
    .await?;
    let states = async || -> Result<Vec<Value>> { Ok(serde_json::from_str(&ampoule.admin("/plugins").await?.text())?) };
    eventually("every kept ConfigMap was tried", Duration::from_secs(60), async || {
        let states = states().await?;
        let failed = states.iter().filter(|state| state["state"] == "failed").count();
        ensure!(failed == KEPT + NAMED, "{failed} of {} plugins failed", states.len());
        Ok(())
    })
    .await?;
    let not_used = |state: &&Value| state["error"].as_str().is_some_and(|error| error.contains("not used"));
    assert_eq!(states().await?.iter().filter(not_used).count(), NAMED);
    installed.namespace.dry_run_pod(&pod).await??;
    let peak = ampoule.peak_kib()?;
    ensure!(peak < CHART_LIMIT_KIB, "the peak of the memory was {} MiB", peak >> 10);
    ampoule.stop().await?.ensure_clean()
}
