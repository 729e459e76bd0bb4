//! The minimal rights of the chart: the processes of its pods run with the token of its service
//! account.
//!
//! The test removes each right in turn, and something must fail; so an unneeded right fails the
//! test too. A test next to the kustomize manifests compares their rights with these.

#[path = "rights/delivery.rs"]
mod delivery;

use std::time::Duration;

use ampoule_tests::{ApiServer, Renderers, eventually};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::release::{Release, Right, render, selector};

/// Limit for the API server to write an answer to its log.
const ANSWERED: Duration = Duration::from_secs(30);

/// The chart with its defaults.
fn plain(name: &str) -> Result<Vec<Value>> {
    render(name, &[])
}

/// The chart with a process that creates its registration.
fn creating(name: &str) -> Result<Vec<Value>> {
    render(name, &["config.registration.create=true"])
}

/// The chart with plugins from ConfigMaps.
fn config_maps(name: &str) -> Result<Vec<Value>> {
    render(name, &["config.plugins.configMaps=true"])
}

/// The chart with a plugin from a ConfigMap that the configuration names.
fn from_config_map(name: &str) -> Result<Vec<Value>> {
    render(name, &["config.injectors[0].name=k8s", "config.injectors[0].component=configmap:theirs/k8s.wasm"])
}

/// The chart as a replacement for Flyte's.
fn flyte(name: &str) -> Result<Vec<Value>> {
    let (full, selector) = (format!("fullnameOverride={name}"), selector(name));
    let selector = format!("flyte.config.webhook.namespaceSelector={selector}");
    let flyte = "deploy/chart/ci/flyte-values.yaml";
    Renderers::find()?.helm("release", name, &["--values", flyte, "--set", &full, "--set-json", &selector])
}

#[tokio::test]
async fn the_chart_needs_each_of_its_rights_and_no_other() -> Result<()> {
    check("rights", plain, |_| true).await
}

#[tokio::test]
async fn a_process_that_creates_its_registration_needs_each_of_its_rights() -> Result<()> {
    check("rights-create", creating, |rule| rule["resources"] == json!(["mutatingwebhookconfigurations"])).await
}

#[tokio::test]
async fn the_right_to_watch_config_maps_exists_only_if_they_are_watched() -> Result<()> {
    let of_config_maps = |rule: &Value| rule["resources"] == json!(["configmaps"]);
    let rules = plain("rights-none")?;
    let rules = rules.iter().flat_map(|object| object["rules"].as_array().into_iter().flatten());
    assert_eq!(rules.filter(|rule| of_config_maps(rule)).count(), 0);
    check("rights-maps", config_maps, of_config_maps).await
}

#[tokio::test]
async fn a_config_map_that_the_configuration_names_is_read_by_that_name() -> Result<()> {
    check("rights-map", from_config_map, |rule| rule["resources"] == json!(["configmaps"])).await
}

#[tokio::test]
async fn the_chart_as_a_replacement_of_flytes_needs_each_of_its_rights() -> Result<()> {
    check("rights-flyte", flyte, |_| true).await
}

#[tokio::test]
async fn a_release_that_delivers_values_needs_each_of_its_rights() -> Result<()> {
    check("rights-values", delivery::in_one_namespace, delivery::is_judged).await
}

#[tokio::test]
async fn a_release_that_delivers_values_everywhere_needs_each_of_its_rights() -> Result<()> {
    check("rights-everywhere", delivery::everywhere, delivery::is_about_values).await
}

#[tokio::test]
async fn a_release_that_restarts_workloads_needs_each_of_its_rights() -> Result<()> {
    check("rights-rollout", delivery::with_rollout, delivery::is_about_workloads).await
}

#[tokio::test]
async fn a_release_whose_pods_report_old_variables_needs_each_of_its_rights() -> Result<()> {
    // An earlier API server drops fields of the sidecar, so the process does not start.
    if !ApiServer::shared().await?.has_version((1, 35), "the rights to read the reports of pods") {
        return Ok(());
    }
    check("rights-reports", delivery::with_reports, delivery::is_judged).await
}

#[tokio::test]
async fn flytes_embedded_manager_needs_to_read_the_secrets_of_its_namespace() -> Result<()> {
    check("rights-embedded", delivery::embedded, |rule| rule["verbs"] == json!(["get"]) && is_unnamed(rule)).await
}

/// Whether a rule covers objects of every name.
fn is_unnamed(rule: &Value) -> bool {
    rule["resourceNames"].is_null()
}

/// `judged` are the rules whose verbs are removed in turn.
async fn check(name: &str, render: fn(&str) -> Result<Vec<Value>>, judged: fn(&Value) -> bool) -> Result<()> {
    let release = Release::install(render(name)?, name, None).await?;
    journey(&release).await?;
    let asked = ApiServer::shared().await?.audit(name)?;
    let forbidden: Vec<_> = asked.iter().filter(|event| event["responseStatus"]["code"] == 403).collect();
    assert!(!asked.is_empty() && forbidden.is_empty(), "{forbidden:#?}");

    let count = release.rights().count();
    assert!(count >= 5, "{count}");
    let judged = |right: &Right| judged(&release.objects[right.role]["rules"][right.rule]);
    let indices: Vec<_> = release.rights().enumerate().filter(|(_, right)| judged(right)).map(|(i, _)| i).collect();
    assert!(!indices.is_empty(), "no right is tested");
    for i in indices {
        let name = format!("{name}-{i}");
        let release = Release::install(render(&name)?, &name, Some(i)).await?;
        let right = release.describe(release.rights().nth(i).context("as many as before")?);
        let failure = journey(&release).await.err().with_context(|| format!("nothing needs to {right}"))?;
        let failure = format!("{failure:#}");
        assert!(failure.contains("forbidden"), "without the right to {right}: {failure}");
    }
    Ok(())
}

/// Performs every request that the shipped processes make to the API server.
async fn journey(release: &Release) -> Result<()> {
    let name = release.namespace.name();
    let output = release.init_certs()?;
    ensure!(output.contains(": created\n"), "{output}");
    let secrets = release.namespace.api::<Secret>();
    let secret = release.rules().find(|rule| rule["resources"][0] == "secrets" && rule["resourceNames"].is_array());
    let secret = secret.and_then(|rule| rule["resourceNames"][0].as_str()).context("a rule names the Secret")?;
    secrets.patch(secret, &PatchParams::default(), &Patch::Merge(&json!({ "data": null }))).await?;
    let output = release.init_certs()?;
    ensure!(output.contains(": replaced, "), "{output}");

    drop(release.start().await?);
    let registrations = release.namespace.cluster_wide::<MutatingWebhookConfiguration>();
    let edit = json!({ "metadata": { "labels": { "app.kubernetes.io/name": "theirs" } } });
    registrations.patch(name, &PatchParams::default(), &Patch::Merge(&edit)).await?;
    let ampoule = release.start().await?;
    // The process works without this right, with reduced function, so only the log shows the
    // failure.
    let mut edits = 0;
    let watch = eventually("an answer to a watch", ANSWERED, async || {
        // A watch is logged when it ends, and a change ends it.
        edits += 1;
        let edit = json!({ "metadata": { "labels": { "edits": edits.to_string() } } });
        registrations.patch(name, &PatchParams::default(), &Patch::Merge(&edit)).await?;
        answer(release, "watch", "mutatingwebhookconfigurations").await
    });
    let code = watch.await.with_context(|| ampoule.log().unwrap_or_default())?;
    ensure!(code == 200, "to watch the registration is forbidden: {code}");
    if release
        .rules()
        .any(|rule| rule["resources"] == json!(["configmaps"]) && rule["verbs"] == json!(["list", "watch"]))
    {
        let code = answer(release, "watch", "configmaps").await?;
        ensure!(code == 200, "to watch ConfigMaps is forbidden: {code}");
    }

    delivery::journey(release, &ampoule).await?;
    // Only an object that the process creates needs an uninstallation.
    if release.find("Job").is_ok() {
        let output = release.run("Job", "containers")?;
        ensure!(output.ends_with(": removed\n"), "{output}");
    }
    release.break_configuration()?;
    let event = eventually("an Event", ANSWERED, async || answer(release, "create", "events").await);
    let code = event.await.with_context(|| ampoule.log().unwrap_or_default())?;
    ensure!(code == 201, "to write an Event is forbidden: {code}");
    Ok(())
}

/// The code of the first answer to such a request.
async fn answer(release: &Release, verb: &str, resource: &str) -> Result<u64> {
    let asked = ApiServer::shared().await?.audit(release.namespace.name())?;
    let such = |event: &&Value| event["verb"] == verb && event["objectRef"]["resource"] == resource;
    let code = |event: &Value| event["responseStatus"]["code"].as_u64();
    asked.iter().filter(such).find_map(code).with_context(|| format!("no answer yet to {verb} {resource}"))
}
