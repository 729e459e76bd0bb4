//! The `matchConditions` of the chart's webhooks, evaluated for a table of pods.
//!
//! The API server of the tests does not have the field, so a CEL interpreter evaluates the
//! expressions with the objects that a newer one would pass to them.

use ampoule_tests::Renderers;
use anyhow::{Context as _, Result};
use cel::{Context, Program, Value as Cel};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use serde_json::{Value, json};

use super::{chart::render, check_kept, find};

/// Whether the API server calls the webhook for a pod in a namespace.
fn matches(webhook: &Value, namespace: &str, pod: &Value) -> Result<bool> {
    let mut context = Context::default();
    context.add_variable("request", json!({ "namespace": namespace }))?;
    context.add_variable("object", pod)?;
    for condition in webhook["matchConditions"].as_array().context("conditions")? {
        let expression = condition["expression"].as_str().context("an expression")?;
        match Program::compile(expression)?.execute(&context)? {
            Cel::Bool(true) => {}
            Cel::Bool(false) => return Ok(false),
            other => anyhow::bail!("{expression} is {other:?}"),
        }
    }
    Ok(true)
}

fn webhooks(values: &[&str]) -> Result<Value> {
    let objects = render(values)?;
    Ok(find(&objects, "MutatingWebhookConfiguration/hook-ampoule")?.clone())
}

#[test]
fn only_pods_with_an_annotation_or_a_possible_reference_are_reviewed() -> Result<()> {
    let object = webhooks(&["--kube-version", "1.30"])?;
    let understood: MutatingWebhookConfiguration = serde_json::from_value(object.clone())?;
    check_kept(&object, &serde_json::to_value(understood)?, "MutatingWebhookConfiguration");
    let pod = |annotations: Value, account: Value| json!({ "metadata": { "name": "a", "annotations": annotations }, "spec": { "serviceAccountName": account, "containers": [] } });
    let env = |value: &str| json!({ "env": [{ "name": "A", "value": value }], "args": ["run"], "command": ["sh"] });
    let with = |list: &str, container: Value| {
        let mut pod = json!({ "metadata": { "name": "a" }, "spec": { "containers": [] } });
        pod["spec"][list] = json!([container]);
        pod
    };
    let asks = || json!({ "ampoule.dev/secrets": "[]" });
    let table = [
        ("a request", "team", pod(asks(), json!("default")), true),
        ("a request of Flyte", "team", pod(json!({ "flyte.secrets/s0": "x" }), json!("default")), true),
        ("a misspelt one, for the warning", "team", pod(json!({ "ampoule.dev/secret": "x" }), json!("a")), true),
        ("no annotation of ours", "team", pod(json!({ "prometheus.io/scrape": "true" }), json!("a")), false),
        ("no annotations", "team", with("containers", json!({ "name": "a" })), false),
        (
            "no service account",
            "hooks",
            json!({ "metadata": { "annotations": asks() }, "spec": { "containers": [] } }),
            true,
        ),
        ("a reference", "team", with("containers", env("secret://db/password")), true),
        ("a reference of another scheme", "team", with("initContainers", env("vault:a#b")), true),
        ("a reference for kubectl debug", "team", with("ephemeralContainers", env("secret://a/b")), true),
        ("a reference that is refused", "team", with("containers", json!({ "args": ["secret://a/b"] })), true),
        ("a reference in a command", "team", with("containers", json!({ "command": ["secret://a/b"] })), true),
        ("plain values", "team", with("containers", env("plain")), false),
        ("a field", "team", with("containers", json!({ "env": [{ "name": "A", "valueFrom": {} }] })), false),
        ("a pod of the chart", "hooks", pod(asks(), json!("hook-ampoule")), false),
        ("its service account's name elsewhere", "team", pod(asks(), json!("hook-ampoule")), true),
        ("another pod in its namespace", "hooks", pod(asks(), json!("default")), true),
    ];
    for webhook in object["webhooks"].as_array().context("webhooks")? {
        for (what, namespace, pod, expected) in &table {
            assert_eq!(matches(webhook, namespace, pod)?, *expected, "{what}");
        }
    }
    Ok(())
}

#[test]
fn the_conditions_are_in_the_object_only_for_an_api_server_that_knows_them() -> Result<()> {
    for (values, expected) in [
        (&["--kube-version", "1.29.9"][..], false),
        (&["--kube-version", "1.30.0"], true),
        (&["--kube-version", "1.36.2-eks-1"], true),
        (&["--kube-version", "1.36.2", "--set", "webhook.matchConditions=false"], false),
        (&["--kube-version", "1.28.0", "--set", "webhook.matchConditions=true"], true),
    ] {
        let object = webhooks(values)?;
        assert_eq!(object["webhooks"][0]["matchConditions"].is_array(), expected, "{values:?}");
    }
    Ok(())
}

#[test]
fn the_component_of_kustomize_has_the_conditions_of_the_chart() -> Result<()> {
    let ours = super::kustomize::render("base", &["match-conditions"])?;
    let theirs = Renderers::find()?.helm("ampoule", "ampoule", &["--kube-version", "1.30"])?;
    let webhooks = |objects: &[Value]| -> Result<Value> {
        Ok(find(objects, "MutatingWebhookConfiguration/ampoule")?["webhooks"].clone())
    };
    assert_eq!(webhooks(&ours)?, webhooks(&theirs)?);
    Ok(())
}

/// A process that creates the object renders the same first condition.
#[test]
fn the_process_and_the_chart_have_the_same_condition() -> Result<()> {
    let object = webhooks(&["--kube-version", "1.30"])?;
    let expression = &object["webhooks"][0]["matchConditions"][0]["expression"];
    assert_eq!(expression, ampoule_cluster::registration::REQUESTS_SECRETS);
    Ok(())
}
