//! Hostile plugins in the pod: one that never returns, one that prints the value, and one that
//! fills the volume. The pod fails with a reason, and no log has the value.

use ampoule_core::MountRequirement::File;
use ampoule_test_guests::guest;
use ampoule_tests::{asking, network::in_own_network};
use anyhow::{Result, ensure};
use serde_json::json;
use tokio::runtime::Runtime;

use super::place::{APP, COMPONENT_IMAGE, Place, PodStore};
use crate::support::request;

#[test]
fn a_hostile_plugin_cannot_print_a_value_fill_the_node_or_run_for_ever() {
    in_own_network("pod_fetch::hostile::a_hostile_plugin_cannot_print_a_value_fill_the_node_or_run_for_ever", || {
        let vault = PodStore::vault();
        Runtime::new().expect("a runtime").block_on(attack_from_pods(&vault)).expect("the pods run");
    });
}

async fn attack_from_pods(vault: &PodStore) -> Result<()> {
    let mut place = Place::new("pod-hostile", vault).await?;
    let component = place.write_component(guest("leaks"))?;
    place.component = format!("file:{}", component.display());
    place.portable("image", &[&component])?;
    let volume = format!("file, components: {{ source: image-volume, image: '{COMPONENT_IMAGE}' }}");
    let ampoule = place.webhook(&volume).await?;
    let failed = "cannot be fetched by injector vault: plugin vault 1.0.0 trapped";
    for (keys, expected) in [
        (&["prints"][..], None),
        (&["panics"], Some(failed)),
        (&["loops"], Some("secret group/loops was not fetched by injector vault within 20 s")),
        (
            &["large-0", "large-1", "large-2", "large-3", "large-4"],
            Some("the value of secret group/large-4 makes the files of /etc/flyte/secrets/leaks larger than 4 MiB"),
        ),
    ] {
        let requests: Vec<_> = keys.iter().map(|key| request("group", key, File, "")).collect();
        let mut pod = asking("app", requests);
        let script = format!("cat /etc/flyte/secrets/leaks/{}", keys[0]);
        pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", script] });
        let ended = place.run(&place.mutate(&ampoule, &pod).await?).await?;
        let fetch = &ended[0];
        match expected {
            Some(reason) => ensure!(fetch.reason.contains(reason) && ended.len() == 1, "{keys:?}: {ended:?}"),
            None => ensure!(ended[1].output == "zq7canarybird", "{keys:?}: {ended:?}"),
        }
        for text in [&fetch.reason, &fetch.output, &fetch.errors] {
            ensure!(!text.contains("zq7canarybird"), "{keys:?}: {text}");
        }
        if keys == ["prints"] {
            ensure!(fetch.errors.contains(r#""lines":2"#), "{fetch:?}");
        }
    }
    ampoule.stop().await?.ensure_clean()
}
