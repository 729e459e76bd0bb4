//! Hostile plugins in the pod: one that never returns, one that prints the value, and one that
//! fills the volume. The pod fails with a reason, and no log has the value. A replaced image of the
//! init container has the identity of the pod, and nothing else.

use ampoule_core::MountRequirement::{EnvVar, File};
use ampoule_test_guests::guest;
use ampoule_tests::{Review, asking};
use anyhow::{Result, ensure};
use serde_json::json;

use super::place::{APP, COMPONENT_IMAGE, Place, PodStore, claims, with_vault};
use crate::support::request;

#[test]
fn a_hostile_plugin_cannot_print_a_value_fill_the_node_or_run_for_ever() {
    with_vault(
        "pod_fetch::hostile::a_hostile_plugin_cannot_print_a_value_fill_the_node_or_run_for_ever",
        attack_from_pods,
    );
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

#[test]
fn a_replaced_image_has_the_identity_of_the_pod_and_nothing_else() {
    with_vault("pod_fetch::hostile::a_replaced_image_has_the_identity_of_the_pod_and_nothing_else", replace_image);
}

async fn replace_image(vault: &PodStore) -> Result<()> {
    let place = Place::new("pod-replaced", vault).await?;
    let ampoule = place.webhook("both").await?;
    let mut pod = asking("app", [request("db", "password", EnvVar, "X")]);
    pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/true"] });
    let mut replaced = place.mutate(&ampoule, &pod).await?;
    replaced["spec"]["initContainers"][0]["image"] = json!(APP);
    let review = Review::of(&replaced, place.namespace.name());
    let answer = ampoule.review_once(&review).await?;
    let expected = "has the init container ampoule-fetch of another configuration";
    ensure!(!answer.allowed && answer.message.contains(expected), "{answer:?}");
    // Stored all the same, it runs another program.
    let script = "printenv AMPOULE_FETCH; ls /var/run/secrets; cat /var/run/secrets/ampoule/*; exit 1";
    replaced["spec"]["initContainers"][0]["command"] = json!(["/bin/sh", "-c", script]);
    let ended = place.run(&replaced).await?;
    let [stolen] = &ended[..] else { anyhow::bail!("{ended:?}") };
    let lines: Vec<_> = stolen.output.lines().collect();
    let [document, directory, token] = lines[..] else { anyhow::bail!("{stolen:?}") };
    ensure!(document.contains("promise") && !document.contains("zq7canarybird"), "{document}");
    assert_eq!(directory, "ampoule");
    let claims = claims(token);
    let account = format!("system:serviceaccount:{}:default", place.namespace.name());
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!(account), &json!(["vault"])), "{claims}");
    ampoule.stop().await?.ensure_clean()
}
