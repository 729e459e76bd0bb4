//! A plugin that is not built in: the pod gets its component by an image or a ConfigMap, and runs
//! no other code.

use std::time::Duration;

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{asking, eventually};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;

use super::place::{APP, COMPONENT_IMAGE, Place, PodStore, VALUE, with_vault};
use crate::support::request;

/// Limit for what the webhook does by and by.
const LONGEST: Duration = Duration::from_secs(60);

#[test]
fn a_pod_gets_a_component_of_a_third_party_and_runs_no_other_code() {
    with_vault("pod_fetch::components::a_pod_gets_a_component_of_a_third_party_and_runs_no_other_code", ship_to_pods);
}

async fn ship_to_pods(vault: &PodStore) -> Result<()> {
    let mut place = Place::new("pod-ships", vault).await?;
    let component = place.foreign_component()?;
    place.component = format!("file:{}", component.display());
    let mut pod = asking("app", [request("db", "password", EnvVar, "X")]);
    pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", "cat $X_FILE"] });

    let ampoule = place.webhook("file").await?;
    let ended = place.run(&place.mutate(&ampoule, &pod).await?).await?;
    let expected = "injector vault: the pod has no component ";
    assert!(ended[0].reason.starts_with(expected) && ended.len() == 1, "{ended:?}");
    ampoule.stop().await?.ensure_clean()?;

    place.portable("image", &[&component])?;
    let volume = format!("file, components: {{ source: image-volume, image: '{COMPONENT_IMAGE}' }}");
    let ampoule = place.webhook(&volume).await?;
    let ended = place.run(&place.mutate(&ampoule, &pod).await?).await?;
    assert_eq!(ended.last().map(|app| app.output.as_str()), Some(VALUE), "{ended:?}");
    ampoule.stop().await?.ensure_clean()?;

    let ampoule = place.webhook("file, components: { source: config-map }").await?;
    let mutated = place.mutate(&ampoule, &pod).await?;
    let config_maps = place.namespace.api::<ConfigMap>();
    let list = config_maps.list(&ListParams::default().labels("ampoule.dev/injector=vault")).await?;
    let [shipped] = &list.items[..] else { anyhow::bail!("{:?}", list.items) };
    let name = shipped.metadata.name.clone().context("no name")?;
    assert_eq!(shipped.immutable, Some(true));
    let ended = place.run(&mutated).await?;
    assert_eq!(ended.last().map(|app| app.output.as_str()), Some(VALUE), "{ended:?}");

    // A user of the namespace replaces it: the pod runs nothing, and the webhook restores it.
    config_maps.delete(&name, &DeleteParams::default()).await?;
    config_maps.create(&PostParams::default(), &with_other_code(shipped)).await?;
    let ended = place.run(&mutated).await?;
    assert!(ended[0].reason.contains("was changed: its SHA-256 is not that of the webhook's code"), "{ended:?}");
    eventually("the component", LONGEST, async || {
        place.review(&ampoule, &pod).await?;
        ensure!(config_maps.get(&name).await?.binary_data == shipped.binary_data, "it has other code");
        Ok(())
    })
    .await?;
    eventually("no unused component", LONGEST, async || {
        ensure!(config_maps.get_opt(&name).await?.is_none(), "it exists");
        Ok(())
    })
    .await?;
    ampoule.stop().await?.ensure_clean()
}

/// The ConfigMap with the code of another component.
fn with_other_code(shipped: &ConfigMap) -> ConfigMap {
    let mut other = ConfigMap { binary_data: shipped.binary_data.clone(), ..ConfigMap::default() };
    other.metadata.name = shipped.metadata.name.clone();
    other.metadata.labels = shipped.metadata.labels.clone();
    for (key, value) in other.binary_data.iter_mut().flatten() {
        if key.ends_with(".cwasm") {
            let last = value.0.len() - 1;
            value.0[last] ^= 1;
        }
    }
    other
}
