//! For which pods an API server calls the webhook: `ampoule explain` gives the same answer as the
//! registration that the process creates.
//!
//! From Kubernetes 1.30, the registration has `matchConditions`.

use std::{fs, path::Path, process::Command};

use ampoule_tests::{Ampoule, ApiServer, binary, free_ports, pod};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::Installed;

/// The number of reviews that the process has answered.
async fn reviews(ampoule: &Ampoule) -> Result<f64> {
    let text = ampoule.admin("/metrics").await?.text();
    let series = text.lines().filter(|line| line.starts_with("ampoule_admissions_total{"));
    series.map(|line| Ok(line.rsplit_once(' ').context("a value")?.1.parse::<f64>()?)).sum()
}

/// The verdict of `ampoule explain` for a pod.
fn explained(config: &Path, version: (u32, u32), pod: &Value) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pod.json");
    fs::write(&file, pod.to_string())?;
    let mut command = Command::new(binary()?);
    command.arg("explain").arg(&file).arg("--config").arg(config).args(["--output", "json", "--server-version"]);
    let output = command.arg(format!("{}.{}", version.0, version.1)).output()?;
    let explained: Value =
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(explained["verdict"].clone())
}

/// Pods with and without marks of Ampoule.
fn pods(namespace: &str) -> Vec<(&'static str, Value)> {
    let with = |label: Value, annotations: Value, variable: &str, word: &str| {
        let mut pod = pod("called");
        pod["metadata"]["namespace"] = json!(namespace);
        pod["metadata"]["labels"] = label;
        pod["metadata"]["annotations"] = annotations;
        pod["spec"]["containers"][0]["env"] = json!([{ "name": "A", "value": variable }]);
        pod["spec"]["containers"][0]["args"] = json!([word]);
        pod
    };
    let ours = || json!({ "ampoule.dev/inject": "true" });
    let requests = || json!({ "ampoule.dev/secrets": "[{ group: user-info, key: user_secret }]" });
    let both = json!({ "ampoule.dev/inject": "true", "inject-flyte-secrets": "true" });
    vec![
        ("nothing", with(json!({}), json!({}), "b", "run")),
        ("a request without the label", with(json!({}), requests(), "b", "run")),
        ("another value of the label", with(json!({ "ampoule.dev/inject": "yes" }), requests(), "b", "run")),
        ("the label alone", with(ours(), json!({}), "b", "run")),
        ("the label of Flyte alone", with(json!({ "inject-flyte-secrets": "true" }), json!({}), "b", "run")),
        ("another annotation", with(ours(), json!({ "example.org/a": "b:c" }), "b", "run")),
        ("a request", with(ours(), requests(), "b", "run")),
        ("both labels", with(both, requests(), "b", "run")),
        ("a misspelt request", with(ours(), json!({ "ampoule.dev/secret": "" }), "b", "run")),
        ("a reference", with(ours(), json!({}), "secret://user-info/user_secret", "run")),
        ("a variable with a colon", with(ours(), json!({}), "https://example.org", "run")),
        ("a reference in a command, which is refused", with(ours(), json!({}), "b", "secret://a/b")),
        ("a word that resembles a reference", with(ours(), json!({}), "b", "secret:/a/b")),
        ("a text without a colon", with(ours(), json!({}), "secret//a/b", "run")),
    ]
}

#[tokio::test]
async fn explain_knows_for_which_pods_the_api_server_calls_the_webhook() -> Result<()> {
    let name = "explain-calls";
    let [port] = free_ports()?;
    let installed = Installed::new(name, port, &format!("{{ mode: cluster, secretName: {name} }}")).await?;
    let ampoule = installed.start_registered(port).await?;
    // A server that was built without a version has 0.
    let version = Some(ApiServer::shared().await?.version()).filter(|version| version.0 > 0).unwrap_or((1, 20));
    for (what, pod) in pods(name) {
        let before = reviews(&ampoule).await?;
        // A refusal is an answer as well.
        let _ = installed.namespace.dry_run_pod(&pod).await?;
        let is_called = reviews(&ampoule).await? > before;
        let verdict = explained(&installed.config(), version, &pod)?;
        ensure!(verdict["called"] == is_called, "{what}, Kubernetes {version:?}: called: {is_called}, but {verdict}");
    }
    let silent = explained(&installed.config(), (1, 30), &pods(name)[3].1)?;
    let reason = silent["reasons"][0].as_str().context("a reason")?;
    ensure!(reason.ends_with("(matchConditions requests-secrets of the registration)"), "{reason}");
    Ok(())
}
