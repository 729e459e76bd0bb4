//! A real [`Prometheus`], Debian's own, which scrapes a process and evaluates the alerts every
//! second; and promtool, which is part of it.
//!
//! The tests query its HTTP API, as Grafana does.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Connection, Process, eventually, free_ports, programs::find, renderers::stdout_of};

/// It starts within a second, because it has no data to replay.
const READY: Duration = Duration::from_secs(30);
/// In Prometheus' notation.
const STEP: &str = "1s";

/// A running Prometheus.
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

/// The labels of a series, and its values in the order of time.
#[derive(Clone, Debug)]
pub struct Series {
    /// Every label, including the metric's name.
    pub labels: Value,
    /// The value at each step; a single value for an instant query.
    pub values: Vec<f64>,
}

// === impl Prometheus ===

impl Prometheus {
    /// Scrapes `/metrics` of an address every second, with the job and other labels that the
    /// operator would set, and evaluates the rules.
    ///
    /// # Errors
    ///
    /// If the program is not installed, or does not start.
    pub async fn scraping(target: SocketAddr, job: &str, labels: &Value, rules: &Value) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ampoule-e2e-prometheus-").tempdir()?;
        let file = |name: &str| folder.path().join(name);
        let config = json!({
            "global": { "scrape_interval": STEP, "scrape_timeout": STEP, "evaluation_interval": STEP },
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                { "job_name": job, "static_configs": [{ "targets": [target.to_string()], "labels": labels }] }
            ],
        });
        fs::write(file("prometheus.yaml"), config.to_string())?;
        fs::write(file("rules.yaml"), rules.to_string())?;
        let [port] = free_ports()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut command = Command::new(find("prometheus", "AMPOULE_PROMETHEUS")?);
        command
            .arg(format!("--config.file={}", file("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .arg(format!("--web.listen-address={address}"));
        let process = Process::spawn_in(&mut command, &file("log"), folder.path())?;
        let this = Self { process, address, _folder: folder };
        eventually("prometheus", READY, async || this.scraped(SystemTime::UNIX_EPOCH).await)
            .await
            .with_context(|| this.process.describe())?;
        Ok(this)
    }

    /// The current value of an expression.
    ///
    /// # Errors
    ///
    /// Prometheus' own, if it cannot parse or evaluate the expression.
    pub async fn query(&self, expression: &str) -> Result<Vec<Series>> {
        series(&self.api("query", &[("query", expression)]).await?)
    }

    /// The value of an expression in each second since `start`.
    ///
    /// # Errors
    ///
    /// As [`Prometheus::query`].
    pub async fn query_since(&self, start: SystemTime, expression: &str) -> Result<Vec<Series>> {
        let [start, end] = [start, SystemTime::now()].map(seconds);
        let words = [("query", expression), ("start", &start), ("end", &end), ("step", STEP)];
        series(&self.api("query_range", &words).await?)
    }

    /// The answer of another part of the API, such as `alerts`.
    ///
    /// # Errors
    ///
    /// Prometheus' own.
    pub async fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let answer = Connection::plain(self.address).await?.get(&format!("/api/v1/{path}?{query}")).await?;
        let mut answer_json: Value = serde_json::from_slice(&answer.body).with_context(|| answer.text())?;
        ensure!(answer_json["status"] == "success", "{}: {}", answer_json["errorType"], answer_json["error"]);
        Ok(answer_json["data"].take())
    }

    /// Returns an error until it has scraped the target after this time.
    ///
    /// # Errors
    ///
    /// If it has not scraped since, or could not parse the result.
    pub async fn scraped(&self, since: SystemTime) -> Result<()> {
        self.process.ensure_running()?;
        let up = self.query(&format!("up * (timestamp(up) > bool {})", seconds(since))).await?;
        ensure!(up.first().is_some_and(|up| up.values == [1.0]), "not scraped since: {up:?}");
        Ok(())
    }
}

/// The output of promtool for a file, or for its standard input.
///
/// # Errors
///
/// Its output, if it reports a mistake.
pub fn promtool(words: &[&str], input: Option<&Path>) -> Result<String> {
    let mut command = Command::new(find("promtool", "AMPOULE_PROMTOOL")?);
    command.args(words);
    if let Some(input) = input {
        command.stdin(File::open(input)?);
    }
    stdout_of(&mut command)
}

/// Both kinds of answers: `value` for an instant, `values` for a range.
fn series(data: &Value) -> Result<Vec<Series>> {
    let result = data["result"].as_array().context("no result")?.iter();
    let series = result.map(|series| {
        let samples = series["values"].as_array().map_or_else(|| vec![&series["value"]], |all| all.iter().collect());
        let values = samples.iter().map(|sample| anyhow::Ok(sample[1].as_str().context("a value")?.parse()?));
        Ok(Series { labels: series["metric"].clone(), values: values.collect::<Result<_>>()? })
    });
    series.collect()
}

fn seconds(time: SystemTime) -> String {
    format!("{:.3}", time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
}
