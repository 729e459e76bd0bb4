//! References in the values of variables through a real API server: the label and nothing else.
//!
//! A simulated kubelet starts the containers, so that the order of the variables counts.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use ampoule_tests::{Container, Image, Namespace, eventually, free_ports, pod};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::{Installed, NOTICED},
    support::{K8S, config, registered},
};

fn labelled(name: &str, env: &Value, command: Option<Value>) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["labels"] = json!({ "ampoule.dev/inject": "true" });
    let print = json!(["sh", "-c", "printf '%s|%s' \"$DB_URL\" \"$DB_PASSWORD\""]);
    let command = command.unwrap_or(print);
    pod["spec"]["containers"][0]["env"] = env.clone();
    pod["spec"]["containers"][0]["command"] = command.clone();
    pod["spec"]["initContainers"] =
        json!([{ "name": "migrate", "image": "example.org/app:1", "env": env, "command": command }]);
    pod
}

fn env(reference: &str) -> Value {
    json!([
        { "name": "DB_HOST", "value": "db" },
        { "name": "DB_PASSWORD", "value": reference },
        { "name": "DB_URL", "value": "postgres://app:$(DB_PASSWORD)@$(DB_HOST)/app" },
    ])
}

#[allow(clippy::disallowed_methods, reason = "the containers run programs of this machine")]
async fn run(pod: Value, namespace: &Namespace) -> Result<BTreeMap<String, String>> {
    let path = std::env::var("PATH")?;
    let image = Image { env: [("PATH".to_owned(), path)].into(), folder: PathBuf::from("/") };
    let mut outputs = BTreeMap::new();
    for container in Container::all_of(pod, namespace).await? {
        outputs.insert(container.name().to_owned(), container.run(&image, Duration::from_secs(60)).await?);
    }
    Ok(outputs)
}

#[tokio::test]
async fn a_reference_becomes_the_secret_and_expands_in_later_variables() -> Result<()> {
    for profile in ["plain", "flyte-v1", "flyte-v2"] {
        let (namespace, _ampoule) = registered(&format!("references-{profile}"), &config(profile, K8S)).await?;
        namespace.create_secret("db", &[("password", "s3cret")]).await?;
        let stored = namespace.create_pod(&labelled("app", &env("secret://db/password"), None)).await?;
        let names: Vec<_> = stored["spec"]["containers"][0]["env"].as_array().context("variables")?.iter().collect();
        assert_eq!(names.len(), 3, "{profile}: {names:?}");
        let outputs = run(stored, &namespace).await?;
        for container in ["main", "migrate"] {
            assert_eq!(outputs[container], "postgres://app:s3cret@db/app|s3cret", "{profile}: {container}");
        }
    }
    Ok(())
}

/// The registration of the process has conditions on an API server that knows them.
#[tokio::test]
async fn the_label_is_enough_for_the_registration_of_the_process() -> Result<()> {
    let [port] = free_ports()?;
    let name = "references-label";
    let installed = Installed::new(name, port, &format!("{{ mode: cluster, secretName: {name} }}")).await?;
    let _ampoule = installed.start(port).await?;
    let probe = labelled("probe", &env("secret://k8s/db/password?optional=true"), None);
    eventually("the registration", NOTICED, async || {
        let pod = installed.namespace.dry_run_pod(&probe).await??;
        let reference = &pod["spec"]["containers"][0]["env"][1]["valueFrom"]["secretKeyRef"];
        ensure!(*reference == json!({ "name": "db", "key": "password", "optional": true }), "{reference}");
        Ok(())
    })
    .await?;
    let argument = labelled("argument", &json!([]), Some(json!(["app", "--password=secret://db/password"])));
    let refusal = installed.namespace.try_create_pod(&argument).await?.expect_err("an argument is visible");
    ensure!(refusal.message.contains("command[1] of container "), "{refusal}");
    let refusal = installed.namespace.try_create_pod(&labelled("wrong", &env("secret://db"), None)).await?;
    let refusal = refusal.expect_err("a reference has two parts");
    ensure!(
        refusal.message.contains("variable DB_PASSWORD of container migrate and 1 more: the reference"),
        "{refusal}"
    );
    Ok(())
}
