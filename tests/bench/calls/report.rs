//! Criterion's estimates as a table: the time of each benchmark of this run, and fresh next to
//! reused instances.
//!
//! Criterion keeps a folder per benchmark, including those of earlier runs, which it compares with.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use ampoule_tests::figures::{self, Cell, Part, Table};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Prefix of the name of a call on a fresh instance.
pub(crate) const FRESH: &str = "call: fresh instance of ";
/// Prefix of the name of a call on a reused instance.
pub(crate) const REUSED: &str = "call: reused instance of ";

const ABOUT: &str = "One processor, no network. A review has three secrets for a pod of two containers; every mutated pod also \
    has an init container. A call on a fresh instance includes its creation and removal.";

/// The time of one benchmark with its confidence interval.
struct Estimate {
    title: String,
    written: SystemTime,
    median: Duration,
    lower: Duration,
    upper: Duration,
}

/// Criterion's folder: its default, for which criterion itself would call cargo.
pub(crate) fn criterion() -> Result<PathBuf> {
    Ok(figures::folder()?.with_file_name("criterion"))
}

/// Writes the estimates measured since `begun` from criterion's folder.
pub(crate) fn write(folder: &Path, begun: SystemTime) -> Result<()> {
    let estimates = Estimate::read_all(folder, begun)?;
    ensure!(!estimates.is_empty(), "no benchmark has a name with this filter");
    let mut part = Part::new("calls", "In process", ABOUT);
    let mut table = Table::new("Medians with 95 % confidence intervals", &["what", "median", "from", "to"]);
    for Estimate { title, median, lower, upper, .. } in &estimates {
        let times = [median, lower, upper].map(|time| Cell::Time(*time));
        table.row([Cell::name(title.as_str())].into_iter().chain(times));
    }
    part.table(table);
    part.table(fresh_and_reused(&estimates));
    part.write()
}

fn fresh_and_reused(estimates: &[Estimate]) -> Table {
    let title = "A plugin call on a fresh instance, including its creation and removal, and on a reused instance";
    let mut table = Table::new(title, &["backend", "fresh", "reused", "ratio"]);
    for fresh in estimates {
        let Some(name) = fresh.title.strip_prefix(FRESH) else { continue };
        let other = format!("{REUSED}{name}");
        let Some(reused) = estimates.iter().find(|estimate| estimate.title == other) else { continue };
        let ratio = fresh.median.as_secs_f64() / reused.median.as_secs_f64();
        table.row([Cell::name(name), Cell::Time(fresh.median), Cell::Time(reused.median), Cell::Ratio(ratio)]);
    }
    table
}

// === impl Estimate ===

impl Estimate {
    /// Estimates in the order of measurement.
    fn read_all(folder: &Path, begun: SystemTime) -> Result<Vec<Self>> {
        let mut estimates = Vec::new();
        // The filter may exclude every benchmark.
        let Ok(entries) = fs::read_dir(folder) else { return Ok(estimates) };
        for entry in entries {
            let newest = entry?.path().join("new");
            let file = newest.join("estimates.json");
            let written = fs::metadata(&file).and_then(|metadata| metadata.modified());
            if let Some(written) = written.ok().filter(|written| *written >= begun) {
                let (benchmark, figures) = (read(&newest.join("benchmark.json"))?, read(&file)?);
                estimates
                    .push(Self::of(&benchmark, &figures, written).context("criterion's files have an unknown format")?);
            }
        }
        estimates.sort_by_key(|estimate| estimate.written);
        Ok(estimates)
    }

    /// Criterion writes nanoseconds.
    fn of(benchmark: &Value, figures: &Value, written: SystemTime) -> Option<Self> {
        let median = &figures["median"];
        let time = |value: &Value| Some(Duration::from_secs_f64(value.as_f64()? / 1e9));
        let interval = &median["confidence_interval"];
        Some(Self {
            title: benchmark["title"].as_str()?.to_owned(),
            written,
            median: time(&median["point_estimate"])?,
            lower: time(&interval["lower_bound"])?,
            upper: time(&interval["upper_bound"])?,
        })
    }
}

fn read(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))
}
