//! A writer of ConfigMaps: more injectors than the process may keep.
//!
//! The process starts with them already in the cluster, since a restart must not be the end.

use std::time::Duration;

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Namespace, asking, eventually, free_ports};
use anyhow::{Result, ensure};
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
    let component = vec![u8::try_from(number % 256)?; COMPONENT];
    let map = json!({
        "metadata": { "name": format!("flood-{number:03}"), "labels": { "ampoule.dev/injector": "true" } },
        "binaryData": { "plugin.wasm": data_encoding::BASE64.encode(&component) },
    });
    let map: ConfigMap = serde_json::from_value(map)?;
    namespace.api::<ConfigMap>().create(&PostParams::default(), &map).await?;
    Ok(())
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
