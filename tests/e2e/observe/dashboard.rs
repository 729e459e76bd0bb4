//! The dashboard as Grafana reads it: its [`Panel`]s, and their queries with variables replaced as
//! in Grafana.
//!
//! Prometheus returns the values of a variable, by the variable's own query.

use std::{collections::BTreeSet, path::Path};

use ampoule_tests::Prometheus;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Grafana's rule: four scrape intervals.
const RATE_INTERVAL: &str = "4s";

/// The dashboard file of the chart.
pub(super) struct Dashboard(Value);

/// A panel's queries and display options.
pub(super) struct Panel<'a> {
    pub(super) json: &'a Value,
    pub(super) title: &'a str,
    pub(super) queries: Vec<&'a str>,
}

// === impl Dashboard ===

impl Dashboard {
    pub(super) fn read() -> Result<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/chart/files/dashboard.json");
        Ok(Self(serde_json::from_slice(&std::fs::read(file)?)?))
    }

    pub(super) fn json(&self) -> &Value {
        &self.0
    }

    /// All panels except row headings.
    pub(super) fn panels(&self) -> Result<Vec<Panel<'_>>> {
        let all = self.0["panels"].as_array().context("panels")?.iter();
        all.filter(|json| json["type"] != "row").map(Panel::read).collect()
    }

    /// The variables that list label values: name and query.
    pub(super) fn variables(&self) -> Vec<(&str, &str)> {
        let all = self.0["templating"]["list"].as_array().into_iter().flatten();
        let lists = all.filter(|json| json["type"] == "query");
        lists.filter_map(|json| Some((json["name"].as_str()?, json["query"]["query"].as_str()?))).collect()
    }

    /// The values of each variable, in the order of their dependencies.
    pub(super) async fn values(&self, prometheus: &Prometheus) -> Result<Vec<(String, String)>> {
        let mut known = vec![("__rate_interval".to_owned(), RATE_INTERVAL.to_owned())];
        for (name, query) in self.variables() {
            let query = replace(query, &known);
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (series, label) = inner.and_then(|inner| inner.rsplit_once(", ")).with_context(|| query.clone())?;
            let values = prometheus.api(&format!("label/{label}/values"), &[("match[]", series)]).await?;
            let values: Vec<_> = values.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            ensure!(!values.is_empty(), "variable {name} has no values: {query}");
            known.push((name.to_owned(), format!("({})", values.join("|"))));
        }
        Ok(known)
    }
}

/// An expression with its variables replaced by these values.
pub(super) fn replace(expression: &str, values: &[(String, String)]) -> String {
    values.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
}

/// The words of an expression or a text, including names of metrics.
pub(super) fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect()
}

// === impl Panel ===

impl<'a> Panel<'a> {
    fn read(json: &'a Value) -> Result<Self> {
        let title = json["title"].as_str().context("a title")?;
        let queries = json["targets"].as_array().with_context(|| format!("{title} has no query"))?.iter();
        let queries = queries.map(|query| query["expr"].as_str().with_context(|| format!("{title} has no query")));
        Ok(Self { json, title, queries: queries.collect::<Result<_>>()? })
    }
}
