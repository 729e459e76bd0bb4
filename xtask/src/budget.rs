//! Compares the cost of an admission with `tests/budget/budget.yaml`. The measures are mostly
//! independent of the machine: instructions, counted by valgrind, and ratios of times from the same
//! run.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::image::{self, BuildProfile, Program};
use crate::job::{self, Log};
use crate::progress::{BAD, GOOD, Progress};
use crate::setup;
use crate::workspace;

const BUDGET: &str = "tests/budget/budget.yaml";
const BUILD_MAX: Duration = Duration::from_secs(20 * 60);
/// Valgrind is about fifty times slower than native execution.
const RUN_MAX: Duration = Duration::from_secs(5 * 60);
/// Number of iterations in the first run. It includes the one-time cost, which the difference to
/// the second run removes.
const ITERATIONS: u64 = 20;
/// Number of additional iterations in the second run.
const EXTRA_ITERATIONS: u64 = 100;
/// The count differs slightly between compilers and versions of libc.
const TOLERANCE: f64 = 0.03;
/// A value this far below its budget requires a lower budget.
const SLACK: f64 = 0.10;

/// The content of the budget file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Budget {
    instructions: BTreeMap<String, f64>,
    fresh_to_reused: BTreeMap<String, f64>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measures {
    All,
    /// Instructions, and no ratios.
    Instructions,
}

/// A measured value with its budget.
struct Line {
    what: String,
    found: f64,
    budget: f64,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Within,
    Over,
    /// So far below the budget that the budget must be lowered.
    Under,
}

/// Measures the cost, and compares it with the budget.
pub(crate) fn run(measures: Measures) -> Result<ExitCode> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "{BUDGET} contains instruction counts for x86-64, but this machine is {}",
        std::env::consts::ARCH
    );
    setup::ensure_valgrind()?;
    setup::ensure_wasm()?;
    if measures == Measures::All {
        setup::ensure_musl()?;
    }
    let text = fs::read_to_string(workspace::root().join(BUDGET)).context(BUDGET)?;
    let budget: Budget = serde_saphyr::from_str(&text).with_context(|| BUDGET.to_owned())?;
    let steps = if measures == Measures::All { 4 } else { 2 };
    let mut progress = Progress::start(steps, setup::cache::folder()?.join("budget.log"))?;
    let workloads = progress.step("build the workloads", build)?;
    let mut lines = progress.step("count instructions", |log| instructions(&workloads, &budget.instructions, log))?;
    if measures == Measures::All {
        let ampoule = progress
            .step("build the static binary", |log| image::build(BuildProfile::Release, Program::Webhook, log))?;
        let measure = || ratios(&ampoule, &budget.fresh_to_reused);
        lines.extend(progress.step("compare fresh and reused instances", |_| measure())?);
    }
    anstream::println!("\n{:<28}{:>12}{:>12}", "", "found", "budget");
    lines.iter().for_each(|line| anstream::println!("{line}"));
    let good = lines.iter().all(|line| line.verdict == Verdict::Within);
    anstream::println!(
        "{}",
        if good { "within the budget" } else { "not within the budget: see the comments in tests/budget/budget.yaml" }
    );
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build(log: &Log) -> Result<PathBuf> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release", "--locked", "--package", "ampoule-budget"]);
    log.run(&mut cargo, BUILD_MAX)?;
    Ok(workspace::target_folder()?.join("release/ampoule-budget"))
}

fn instructions(program: &Path, budget: &BTreeMap<String, f64>, log: &Log) -> Result<Vec<Line>> {
    let line = |(workload, budget): (&String, &f64)| {
        let (few, many) =
            (count(program, workload, ITERATIONS, log)?, count(program, workload, ITERATIONS + EXTRA_ITERATIONS, log)?);
        #[allow(clippy::cast_precision_loss, reason = "a count of instructions is far below 2^52")]
        let found = many.saturating_sub(few) as f64 / EXTRA_ITERATIONS as f64;
        Ok(Line::of(format!("instructions {workload}"), found, *budget, SLACK))
    };
    budget.iter().map(line).collect()
}

/// Counts the instructions of one run.
fn count(program: &Path, workload: &str, times: u64, log: &Log) -> Result<u64> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("callgrind.out");
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(program).args([workload, &times.to_string()]);
    log.run(&mut valgrind, RUN_MAX)?;
    let text = fs::read_to_string(&out)?;
    let total = text.lines().find_map(|line| line.strip_prefix("summary: ").or_else(|| line.strip_prefix("totals: ")));
    total
        .and_then(|total| total.trim().parse().ok())
        .with_context(|| format!("callgrind reported no instruction count for {workload}"))
}

fn ratios(ampoule: &Path, budget: &BTreeMap<String, f64>) -> Result<Vec<Line>> {
    let line = |(plugin, budget): (&String, &f64)| {
        let mut bench = Command::new(ampoule);
        bench.args(["plugin", "bench", &format!("builtin:{plugin}"), "-o", "json"]);
        let output = job::output(&mut bench, RUN_MAX).with_context(|| format!("{} failed", job::shown(&bench)))?;
        let figures: serde_json::Value = serde_json::from_str(&output)?;
        let least = |call: &str| figures[call]["min"].as_f64().with_context(|| format!("no {call} in {output}"));
        let (fresh, reused) = (least("freshCallMicros")?, least("reusedCallMicros")?);
        ensure!(reused > 0.0, "a reused instance of {plugin} has a call time of 0");
        // Times are noisy, so a low ratio does not require a lower budget.
        Ok(Line::of(format!("fresh to reused {plugin}"), fresh / reused, *budget, f64::INFINITY))
    };
    budget.iter().map(line).collect()
}

// === impl Line ===

impl Line {
    fn of(what: String, found: f64, budget: f64, slack: f64) -> Self {
        let verdict = if found > budget * (1.0 + TOLERANCE) {
            Verdict::Over
        } else if found < budget * (1.0 - slack) {
            Verdict::Under
        } else {
            Verdict::Within
        };
        Self { what, found, budget, verdict }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, found, budget, verdict } = self;
        let digits = if *budget < 100.0 { 2 } else { 0 };
        write!(f, "{what:<28}{found:>12.digits$}{budget:>12.digits$}  ")?;
        match verdict {
            Verdict::Within => write!(f, "{GOOD}ok{GOOD:#}"),
            Verdict::Over => write!(f, "{BAD}over{BAD:#}"),
            Verdict::Under => write!(f, "{BAD}far below: lower the budget{BAD:#}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_above_or_far_below_the_budget_is_not_within() {
        for (found, slack, expected) in [
            (100.0, SLACK, "ok"),
            (102.9, SLACK, "ok"),
            (103.1, SLACK, "over"),
            (90.1, SLACK, "ok"),
            (89.9, SLACK, "far below: lower the budget"),
            (1.0, f64::INFINITY, "ok"),
        ] {
            let line = Line::of("x".to_owned(), found, 100.0, slack).to_string();
            let line = anstream::adapter::strip_str(&line).to_string();
            assert!(line.ends_with(&format!("  {expected}")), "{line}");
        }
    }
}
