//! The sidecar of a pod with files: it replaces them together, and keeps them if the store has no
//! answer.

use ampoule_core::MountRequirement::File;
use ampoule_tests::{Review, asking};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::place::{APP, Place, PodStore, VALUE, with_vault};
use crate::support::request;

#[test]
fn a_sidecar_keeps_the_files_of_a_pod_fresh() {
    with_vault("pod_fetch::refresh::a_sidecar_keeps_the_files_of_a_pod_fresh", refresh_in_pods);
}

async fn refresh_in_pods(vault: &PodStore) -> Result<()> {
    let place = Place::new("pod-refresh", vault).await?;
    let ampoule = place.webhook("file, refreshSeconds: 10").await?;
    let mut pod = asking("app", [request("rotating", "cert", File, ""), request("rotating", "key", File, "")]);
    pod["spec"]["containers"][0] =
        json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", WAIT_FOR_CHANGE] });
    pod["spec"]["initContainers"] = json!([{ "name": "own", "image": APP, "command": ["/bin/true"] }]);
    let mutated = place.mutate(&ampoule, &pod).await?;
    let names: Vec<_> =
        mutated["spec"]["initContainers"].as_array().into_iter().flatten().map(|c| &c["name"]).collect();
    assert_eq!(names, ["ampoule-fetch", "ampoule-refresh", "own"]);
    let ended = place.run(&mutated).await?;
    let [fetch, _own, app, refresh] = &ended[..] else { anyhow::bail!("{ended:?}") };
    assert_eq!(
        (app.status, app.output.as_str()),
        (0, "zq7canarybird-1 zq7canarybird-2 zq7canarybird-2\n"),
        "{ended:?}"
    );
    assert_eq!((refresh.name.as_str(), refresh.status), ("ampoule-refresh", 0), "{refresh:?}");
    assert!(refresh.output.starts_with(r#"{"message":"refreshed","secrets":["#), "{refresh:?}");
    for text in [&fetch.output, &fetch.errors, &refresh.output, &refresh.errors] {
        assert!(!text.contains("zq7canarybird"), "{text}");
    }
    // The secret is deleted in the store: the pod keeps its value.
    let mut pod = asking("app", [request("deleted", "password", File, "")]);
    let script = "sleep 12; cat /etc/flyte/secrets/deleted/password";
    pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/sh", "-c", script] });
    let ended = place.run(&place.mutate(&ampoule, &pod).await?).await?;
    let [_fetch, app, refresh] = &ended[..] else { anyhow::bail!("{ended:?}") };
    assert_eq!((app.output.as_str(), refresh.status), (VALUE, 0), "{ended:?}");
    let expected = "secret deleted/password cannot be fetched by injector vault: not found: ";
    assert!(refresh.errors.contains(expected) && refresh.output.is_empty(), "{refresh:?}");
    // The pod's author wants no sidecar, or another interval.
    let interval = |interval: &str| {
        let mut pod = pod.clone();
        pod["metadata"]["annotations"]["ampoule.dev/refresh-seconds"] = json!(interval);
        pod
    };
    assert_eq!(refresh_seconds(&place.mutate(&ampoule, &interval("0")).await?)?, None);
    assert_eq!(refresh_seconds(&place.mutate(&ampoule, &interval("600")).await?)?, Some(600));
    let response = ampoule.review_once(&Review::of(&interval("5"), place.namespace.name())).await?;
    let expected = "annotation ampoule.dev/refresh-seconds: must be 0, or a number of seconds from 10 to 86400";
    assert!(!response.allowed && response.message.contains(expected), "{response:?}");
    ampoule.stop().await?.ensure_clean()
}

/// A program that reads a certificate and its key, as one version, until they change.
const WAIT_FOR_CHANGE: &str = r#"
cd /etc/flyte/secrets/rotating
first=$(cat cert)
for i in $(seq 600); do
    version=$(readlink ..data)
    cert=$(cat $version/cert) && key=$(cat $version/key) && [ "$cert" != "$key" ] && echo "torn: $cert $key" && exit 1
    [ "$(cat cert)" != "$first" ] && echo "$first $(cat cert) $(cat key)" && exit 0
    sleep 0.1
done
exit 2
"#;

/// The interval in the document of the sidecar; `None` without a sidecar.
fn refresh_seconds(pod: &Value) -> Result<Option<u64>> {
    let containers = pod["spec"]["initContainers"].as_array().context("no init containers")?;
    let Some(sidecar) = containers.iter().find(|container| container["name"] == "ampoule-refresh") else {
        return Ok(None);
    };
    let variables = sidecar["env"].as_array().context("no variables")?;
    let document = variables.iter().find(|variable| variable["name"] == "AMPOULE_FETCH").context("no document")?;
    let document: Value = serde_json::from_str(document["value"].as_str().unwrap_or_default())?;
    Ok(document["refreshSeconds"].as_u64())
}
