//! Messages as an oracle: what pods' authors, and authors of ConfigMaps, learn about files and
//! hosts that only the webhook can reach.
//!
//! The texts of two cases are compared after the names of the plugins are removed.

use std::{collections::BTreeSet, fs, net::SocketAddr, time::Duration};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_engine::digest;
use ampoule_tests::{Ampoule, Review, annotation, asking, eventually, free_ports};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::support::{CHART_LIMIT_KIB, served};
use crate::{
    cluster::Installed,
    support::{config, config_map_events},
};

/// Limit for the failure of every plugin.
const FAILED: Duration = Duration::from_secs(90);

/// A port that accepts connections and closes them.
async fn open_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr().map(|address: SocketAddr| address.port())?;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    Ok(port)
}

/// Waits until these plugins have failed.
async fn failed(ampoule: &Ampoule, names: &[&str]) -> Result<()> {
    eventually("the failure of every plugin", FAILED, async || {
        let states: Vec<Value> = serde_json::from_str(&ampoule.admin("/plugins").await?.text())?;
        let failed = |name: &&str| states.iter().any(|one| one["name"] == **name && one["state"] == "failed");
        ensure!(names.iter().all(failed), "{states:#?}");
        Ok(())
    })
    .await
}

/// Number 11: a refusal had the real hash of a file, its path, or the address of a registry.
#[tokio::test]
async fn a_pods_author_sees_the_same_text_for_every_plugin_that_is_not_loaded() -> Result<()> {
    const NAMES: [&str; 4] = ["wrong-hash", "no-file", "open-port", "closed-port"];
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("plugin.wasm");
    let component = ampoule_test_guests::guest("echo");
    fs::write(&file, component)?;
    let ([closed], open) = (free_ports()?, open_port().await?);
    let wrong = "0".repeat(64);
    let sources = [
        format!("'file:{}', sha256: '{wrong}'", file.display()),
        format!("'file:{}'", folder.path().join("missing.wasm").display()),
        format!("'oci:127.0.0.1:{open}/plugin:1'"),
        format!("'oci:127.0.0.1:{closed}/plugin:1'"),
    ];
    let injector =
        |(name, source): (&&str, &String)| format!("  - {{ name: {name}, required: false, component: {source} }}\n");
    let injectors: String = NAMES.iter().zip(&sources).map(injector).collect();
    let ampoule = Ampoule::start_logging(&config("flyte-v1", &injectors), "info").await?;
    failed(&ampoule, &NAMES).await?;
    let review = Review::of(&asking("task", [annotation("group", "key", EnvVar)]), "default");
    let response = ampoule.review_once(&review).await?;
    let (_, reasons) = response.message.split_once("could not be injected: ").context(response.message.clone())?;
    let texts: BTreeSet<_> = NAMES
        .iter()
        .map(|name| {
            let reason = reasons.split("; ").find(|reason| reason.starts_with(&format!("{name}: ")));
            Ok(reason.with_context(|| format!("{name} is not in {reasons}"))?.replace(name, "NAME"))
        })
        .collect::<Result<_>>()?;
    ensure!(texts.len() == 1, "the texts differ: {texts:#?}");
    for secret in [&digest(component)[..12], &folder.path().display().to_string(), &open.to_string(), "127.0.0.1"] {
        ensure!(!response.message.contains(secret), "{secret} is in {}", response.message);
    }
    // The admin sees the reasons.
    let log = ampoule.log()?;
    ensure!(log.contains(&digest(component)[..12]) && log.contains("missing.wasm"), "{log}");
    let peak = ampoule.peak_kib()?;
    ensure!(peak < CHART_LIMIT_KIB, "the peak of the memory was {} MiB", peak >> 10);
    ampoule.stop().await?.ensure_clean()
}

/// Number 11: `oci:127.0.0.1:PORT` in a ConfigMap revealed open ports by its Event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_the_same_for_an_open_and_a_closed_port() -> Result<()> {
    let [port, closed] = free_ports()?;
    let open = open_port().await?;
    let installed = Installed::new("oracle", port, "{ mode: cluster, secretName: oracle }").await?;
    installed.reconfigure("globalSecrets:", "plugins: { configMaps: true }\nglobalSecrets:")?;
    let ampoule = installed.start(port).await?;
    let cases = [("open-port", open), ("closed-port", closed)];
    for (name, port) in cases {
        let map = json!({
            "metadata": { "name": name, "labels": { "ampoule.dev/injector": "true" } },
            "data": { "injector.yaml": format!("component: 'oci:127.0.0.1:{port}/plugin:1'") },
        });
        let map: ConfigMap = serde_json::from_value(map)?;
        installed.namespace.api::<ConfigMap>().create(&PostParams::default(), &map).await?;
    }
    failed(&ampoule, &cases.map(|(name, _)| name)).await?;
    let notes = eventually("an Event for each", FAILED, async || {
        let events = config_map_events(&installed.namespace).await?;
        let note = |(name, port): (&str, u16)| -> Result<[String; 3]> {
            let event = events.iter().find(|event| event[2].contains(name)).context("not yet")?;
            Ok(event.clone().map(|text| text.replace(name, "NAME").replace(&port.to_string(), "PORT")))
        };
        Ok([note(cases[0])?, note(cases[1])?])
    })
    .await?;
    assert_eq!(notes[0], notes[1]);
    ensure!(notes[0][1] == "PluginRefused", "{notes:#?}");
    served(&installed.namespace).await?;
    ampoule.stop().await?.ensure_clean()
}
