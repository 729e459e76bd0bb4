//! Observability: a real Prometheus scrapes a process that goes through all scenarios. Then the
//! dashboard's queries return data, the expected alerts are active, and the metrics match their
//! documented table.
//!
//! Grafana does not run: its own model parses the dashboard, and the test replaces variables as
//! Grafana does.

#[path = "observe/dashboard.rs"]
mod dashboard;
#[path = "observe/metrics.rs"]
mod metrics;
#[path = "observe/scenario.rs"]
mod scenario;

use std::collections::{BTreeMap, BTreeSet};

use ampoule_tests::{Renderers, promtool};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

use self::{
    dashboard::{Dashboard, replace, words},
    metrics::as_promtool_reads,
    scenario::Scene,
};
use crate::deploy::check_kept;

const METRICS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/metrics.md");

/// Panels that show only zeros in this scenario, each with the reason.
const ZERO: [(&str, &str); 11] = [
    ("Restored registrations", "no API server is used from which it could be removed"),
    ("Secrets with values", "no API server is used in which they could be"),
    ("Deleted Secrets with values", "no API server is used from which they could be deleted"),
    ("Searches for unused Secrets", "no API server is used in which they could be"),
    ("Pods with old values", "no API server is used in which they could be; `rotation` tests the search"),
    ("Searches for old values", "the search is off"),
    ("Restarted workloads", "the search is off"),
    ("Logins for plugins", "no plugin has a credential; `value_cache` and `credentials` test the logins"),
    ("Invalidations of values", "the port is off; `value_cache` tests it"),
    ("Refused clients", "the port is open to every client"),
    ("Policy rules that fail", "the rule of this scenario reads a field that every request has"),
];

/// The alerts that must become active in this scenario, after their configured duration.
const ACTIVE: [&str; 9] = [
    "AmpouleAdmitsWithoutSecrets",
    "AmpouleCertificateExpiresSoon",
    "AmpouleConfigReloadFailed",
    "AmpouleDeliveryFails",
    "AmpoulePluginNotLoaded",
    "AmpoulePluginTraps",
    "AmpouleRejectsRequests",
    "AmpouleReplicaDown",
    "AmpouleUnavailable",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboard_alerts_and_table_hold_for_a_process_that_went_through_everything() -> Result<()> {
    let scene = Scene::play(&rules()?).await?;
    every_outcome_was_seen(&scene).await?;
    every_query_finds_data(&scene).await.context("the dashboard")?;
    the_alerts_are_active_that_must_be(&scene).await.context("the alerts")?;
    let answer = scene.ampoule.admin("/metrics").await?;
    let text = answer.text();
    every_metric_is_on_a_panel(&text)?;
    prometheus_knows_types_and_help(&scene, &text).await?;
    promtool_has_nothing_to_say(&text)?;
    the_table_is_what_the_process_says(&text)?;
    every_value_of_a_label_is_explained(&scene).await?;
    scene.ampoule.stop().await?.ensure_clean()
}

/// The rules of the chart.
fn rules() -> Result<Value> {
    let objects = Renderers::find()?.helm("ampoule", "ampoule", &["--set", "monitoring.rules.enabled=true"])?;
    let rules = objects.into_iter().find(|object| object["kind"] == "PrometheusRule").context("no rules")?;
    Ok(rules["spec"].clone())
}

/// All outcomes are counted from zero.
async fn every_outcome_was_seen(scene: &Scene) -> Result<()> {
    let unseen = scene.prometheus.query("ampoule_admissions_total == 0").await?;
    ensure!(unseen.is_empty(), "{unseen:?}");
    Ok(())
}

async fn every_query_finds_data(scene: &Scene) -> Result<()> {
    let dashboard = Dashboard::read()?;
    let values = dashboard.values(&scene.prometheus).await?;
    let mut wrong = Vec::new();
    for panel in dashboard.panels()? {
        let zeros = ZERO.iter().any(|(title, _)| *title == panel.title);
        for query in &panel.queries {
            let expression = replace(query, &values);
            ensure!(!expression.contains('$'), "{}: an unknown variable in {expression}", panel.title);
            let found = scene.prometheus.query_since(scene.start, &expression).await;
            let mut shown = found.with_context(|| expression.clone())?.into_iter().flat_map(|series| series.values);
            if !shown.any(|value| value.is_finite() && (zeros || value != 0.0)) {
                wrong.push(format!("{}: {expression}", panel.title));
            }
        }
    }
    ensure!(wrong.is_empty(), "no data in\n{}", wrong.join("\n"));
    Ok(())
}

async fn the_alerts_are_active_that_must_be(scene: &Scene) -> Result<()> {
    let answer = scene.prometheus.api("rules", &[]).await?;
    let rules = answer["groups"][0]["rules"].as_array().context("rules")?;
    let broken: Vec<_> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
    ensure!(broken.is_empty(), "{broken:#?}");
    let active = rules.iter().filter(|rule| rule["state"] != "inactive").filter_map(|rule| rule["name"].as_str());
    // How slow the process is depends on the machine.
    let mut active: Vec<_> = active.filter(|name| *name != "AmpouleSlow").collect();
    active.sort_unstable();
    ensure!(active == ACTIVE, "{active:?} instead of {ACTIVE:?}");
    // Prometheus writes template errors into the text.
    ensure!(!answer.to_string().contains("error expanding template"), "{answer:#}");
    Ok(())
}

fn every_metric_is_on_a_panel(text: &str) -> Result<()> {
    let dashboard = Dashboard::read()?;
    let panels = dashboard.panels()?;
    let shown: BTreeSet<_> = panels.iter().flat_map(|panel| &panel.queries).flat_map(|query| words(query)).collect();
    let is_shown = |name: &str| ["", "_bucket", "_sum"].iter().any(|end| shown.contains(&*format!("{name}{end}")));
    let hidden: Vec<_> =
        metrics::read(text)?.into_iter().map(|metric| metric.name).filter(|name| !is_shown(name)).collect();
    ensure!(hidden.is_empty(), "no panel of the dashboard shows {hidden:?}");
    Ok(())
}

/// Prometheus finds a counter by its family only if it parsed the text as OpenMetrics.
async fn prometheus_knows_types_and_help(scene: &Scene, text: &str) -> Result<()> {
    let known = scene.prometheus.api("metadata", &[]).await?;
    for metric in metrics::read(text)? {
        let family = metric.name.strip_suffix("_total").unwrap_or(&metric.name);
        let known = &known[family][0];
        let help = known["help"].as_str().unwrap_or_default().trim_end_matches('.');
        ensure!(known["type"] == metric.kind && help == metric.help, "{metric:?}, but Prometheus has {known}");
    }
    Ok(())
}

fn promtool_has_nothing_to_say(text: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), as_promtool_reads(text))?;
    let answer = promtool(&["check", "metrics"], Some(file.path()))?;
    ensure!(answer.is_empty(), "{answer}");
    Ok(())
}

fn the_table_is_what_the_process_says(text: &str) -> Result<()> {
    let page = std::fs::read_to_string(METRICS)?;
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let row = |metric: &metrics::Metric<'_>| {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        format!("| `{}` | {} | {labels} | {} |", metric.name, metric.kind, metric.help)
    };
    let expected: Vec<_> = metrics::read(text)?.iter().map(row).collect();
    ensure!(rows == expected, "the table in docs/src/metrics.md must be\n{}", expected.join("\n"));
    Ok(())
}

/// The labels with a fixed set of values, independent of the configuration.
async fn every_value_of_a_label_is_explained(scene: &Scene) -> Result<()> {
    let page = std::fs::read_to_string(METRICS)?;
    for label in ["grant", "kind", "origin", "outcome", "phase", "port", "reason", "result", "state"] {
        let values = scene.prometheus.api(&format!("label/{label}/values"), &[]).await?;
        for value in values.as_array().context("values")?.iter().filter_map(Value::as_str) {
            ensure!(page.contains(&format!("`{value}`")), "docs/src/metrics.md does not describe {label} {value}");
        }
    }
    Ok(())
}

#[test]
fn grafanas_own_model_keeps_every_field_of_the_dashboard() -> Result<()> {
    let dashboard = Dashboard::read()?;
    let understood = Renderers::find()?.understood(&[dashboard.json().clone()])?;
    check_kept(dashboard.json(), &understood[0], "dashboard");
    Ok(())
}

#[test]
fn every_panel_has_a_description_and_a_unit_and_does_not_overlap() -> Result<()> {
    let dashboard = Dashboard::read()?;
    let json = dashboard.json();
    assert_eq!((&json["title"], json["schemaVersion"].as_u64()), (&"Ampoule".into(), Some(38)), "Grafana 10.0");
    let panels = json["panels"].as_array().context("panels")?;
    let ids: BTreeSet<_> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "ids");
    let mut taken = BTreeMap::new();
    for panel in panels {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap_or_default());
        assert!(w > 0 && h > 0 && x + w <= 24, "{}", panel["title"]);
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let other = taken.insert(place, &panel["title"]);
            assert!(other.is_none(), "{} overlaps {other:?}", panel["title"]);
        }
    }
    for panel in dashboard.panels()? {
        let json = panel.json;
        assert!(json["description"].as_str().is_some_and(|text| text.ends_with('.')), "{}", panel.title);
        assert!(json["fieldConfig"]["defaults"]["unit"].is_string(), "{}", panel.title);
        assert!(!panel.queries.is_empty(), "{}", panel.title);
        for asks in json["targets"].as_array().into_iter().flatten().chain([json]) {
            assert_eq!(asks["datasource"]["uid"], "${datasource}", "{}", panel.title);
        }
    }
    Ok(())
}

#[test]
fn every_query_selects_the_chosen_job_and_plugins() -> Result<()> {
    for panel in Dashboard::read()?.panels()? {
        for expression in panel.queries {
            let selectors: Vec<_> = expression.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
            let metrics = words(expression).into_iter();
            let metrics: Vec<_> = metrics
                .filter(|word| ["ampoule_", "process_", "up"].iter().any(|start| word.starts_with(start)))
                .collect();
            assert!(!metrics.is_empty() && selectors.len() >= metrics.len(), "{}: {expression}", panel.title);
            for selector in selectors {
                let chosen = r#"namespace=~"$namespace", job=~"$job""#;
                assert!(selector.starts_with(chosen), "{}: {selector}", panel.title);
                let of_plugins = expression.contains(", plugin") || expression.contains("(plugin");
                assert!(!of_plugins || selector.contains(r#"plugin=~"$plugin""#), "{}: {selector}", panel.title);
            }
        }
    }
    Ok(())
}
