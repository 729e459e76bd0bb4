//! The alert rules: promtool parses them, evaluates them against series, and every metric that they
//! name exists.
//!
//! The rules are those of the chart; a test next to the kustomize manifests compares the two.

use std::{collections::BTreeSet, path::Path, time::Duration};

use ampoule_core::AdmissionOutcome;
use ampoule_core::FailureKind;
use ampoule_engine::{Call, CallObserver as _, CallOutcome};
use ampoule_telemetry::{metrics::Metrics, plugin_state::PluginState};
use ampoule_tests::{Renderers, promtool};
use anyhow::{Context, Result};
use serde_json::Value;

fn rules() -> Result<(tempfile::TempDir, Value)> {
    let words = ["monitoring.rules.enabled=true", "monitoring.serviceMonitor.enabled=true"];
    let objects = Renderers::find()?.helm("ampoule", "ampoule", &words.map(|word| ["--set", word]).concat())?;
    let rules = super::find(&objects, "PrometheusRule/ampoule")?["spec"].clone();
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("rules.yaml"), serde_json::to_vec(&rules)?)?;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/deploy/alerts.yaml");
    std::fs::copy(tests, folder.path().join("tests.yaml"))?;
    Ok((folder, rules))
}

#[test]
fn promtool_accepts_the_rules_and_they_fire_as_expected() -> Result<()> {
    let (folder, _) = rules()?;
    for (verb, file) in [("check", "rules.yaml"), ("test", "tests.yaml")] {
        let file = folder.path().join(file);
        let output = promtool(&[verb, "rules", file.to_str().context("a path in UTF-8")?], None)?;
        assert!(output.contains("SUCCESS"), "{output}");
    }
    Ok(())
}

#[test]
fn every_alert_is_tested() -> Result<()> {
    let (folder, rules) = rules()?;
    let tests = std::fs::read_to_string(folder.path().join("tests.yaml"))?;
    for rule in rules["groups"][0]["rules"].as_array().context("rules")? {
        let alert = rule["alert"].as_str().context("an alert")?;
        assert!(
            tests.contains(&format!("alertname: {alert}\n")),
            "{alert} has no test in tests/e2e/deploy/alerts.yaml"
        );
    }
    Ok(())
}

#[test]
fn every_metric_in_a_rule_exists() -> Result<()> {
    let (_folder, rules) = rules()?;
    let text = rules.to_string();
    let named: BTreeSet<_> = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    let metrics = Metrics::new();
    metrics.admitted(AdmissionOutcome::Unavailable, Duration::ZERO);
    metrics.admitted(AdmissionOutcome::Error, Duration::ZERO);
    metrics.admitted(AdmissionOutcome::AdmittedWithoutSecrets, Duration::ZERO);
    metrics.rejected("crowded");
    metrics.plugin_state("plugin", PluginState::Failed);
    metrics.of_plugin("plugin", "").called(&Call {
        outcome: CallOutcome::Failed(FailureKind::Trap),
        reused: false,
        elapsed: Duration::ZERO,
        queue: Duration::ZERO,
        start: None,
        guest: Duration::ZERO,
        host: Duration::ZERO,
        memory: None,
    });
    let exposed = metrics.text();
    let metric_names: Vec<_> = named.into_iter().filter(|word| word.starts_with("ampoule_")).collect();
    assert!(metric_names.len() >= 4, "{metric_names:?}");
    for metric in metric_names {
        // As a series, with or without labels, or as the family that the description mentions.
        let known = ["{", " ", "_bucket{"].iter().any(|rest| exposed.contains(&format!("\n{metric}{rest}")));
        assert!(known, "{metric} is not in\n{exposed}");
    }
    for label in ["unavailable", "error", "admitted-without-secrets"] {
        assert!(text.contains(label) && exposed.contains(&format!("outcome=\"{label}\"")), "{label}");
    }
    Ok(())
}

/// Prometheus sees no increase in a series that begins with 1: the first event would not alert.
#[test]
fn every_counter_whose_increase_alerts_begins_at_zero() -> Result<()> {
    let (_folder, rules) = rules()?;
    let metrics = Metrics::new();
    metrics.plugin_state("plugin", PluginState::Loaded);
    let exposed = metrics.text();
    let expressions = rules["groups"][0]["rules"].as_array().context("rules")?.iter();
    let expressions: Vec<_> = expressions.filter_map(|rule| rule["expr"].as_str()).collect();
    let counters = expressions.iter().flat_map(|expression| expression.split("increase(").skip(1));
    let counters: Vec<_> = counters.filter_map(|rest| rest.split('[').next()).collect();
    assert!(counters.len() >= 2, "{counters:?}");
    for counter in counters {
        // With its labels, if the rule specifies them.
        let (name, labels) = counter.split_once('{').unwrap_or((counter, "}"));
        let labels = labels.trim_end_matches('}');
        let series = exposed.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(labels));
        let series: Vec<_> = series.collect();
        assert!(!series.is_empty() && series.iter().all(|line| line.ends_with(" 0")), "{counter}: {series:?}");
    }
    Ok(())
}
