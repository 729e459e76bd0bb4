//! Holds what an admission costs to `tests/budget/budget.yaml`, by measures that hardly depend on the machine: instructions, which valgrind
//! counts, and ratios of times that were taken together.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::image;
use crate::job::{self, Log};
use crate::progress::{BAD, GOOD, Progress};
use crate::setup;
use crate::workspace;

const BUDGET: &str = "tests/budget/budget.yaml";
const BUILD_MAX: Duration = Duration::from_secs(20 * 60);
/// Valgrind is some fifty times slower than the processor.
const RUN_MAX: Duration = Duration::from_secs(5 * 60);
/// Work is done this often, and this much oftener; the first has what only happens once.
const TIMES: u64 = 20;
const FURTHER: u64 = 100;
/// Another compiler or libc counts a little differently.
const TOLERANCE: f64 = 0.03;
/// What is so far below its budget is not held by it.
const SLACK: f64 = 0.10;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Budget {
    instructions: BTreeMap<String, f64>,
    fresh_to_reused: BTreeMap<String, f64>,
}

/// A figure beside its budget.
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
    /// So far below that the budget has to follow.
    Under,
}

/// Measures all of it.
pub(crate) fn run() -> Result<ExitCode> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "{BUDGET} counts instructions of x86-64, and this is {}",
        std::env::consts::ARCH
    );
    setup::ensure_valgrind()?;
    setup::ensure_wasm()?;
    setup::ensure_musl()?;
    let text = fs::read_to_string(workspace::root().join(BUDGET)).context(BUDGET)?;
    let budget: Budget = serde_saphyr::from_str(&text).with_context(|| BUDGET.to_owned())?;
    let mut progress = Progress::start(4, setup::cache::folder()?.join("budget.log"))?;
    let counted = progress.step("build what is counted", build)?;
    let lines = progress.step("count instructions", |log| instructions(&counted, &budget.instructions, log))?;
    let ampoule = progress.step("build the static binary", image::build)?;
    let ratios = progress.step("compare fresh and reused instances", |_| ratios(&ampoule, &budget.fresh_to_reused))?;
    anstream::println!("\n{:<28}{:>12}{:>12}", "", "found", "budget");
    let lines: Vec<_> = lines.into_iter().chain(ratios).collect();
    lines.iter().for_each(|line| anstream::println!("{line}"));
    let good = lines.iter().all(|line| line.verdict == Verdict::Within);
    anstream::println!(
        "{}",
        if good { "within the budget" } else { "not within the budget: tests/budget/budget.yaml says what to do" }
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
        let (few, many) = (count(program, workload, TIMES, log)?, count(program, workload, TIMES + FURTHER, log)?);
        #[allow(clippy::cast_precision_loss, reason = "a count of instructions is far below 2^52")]
        let found = many.saturating_sub(few) as f64 / FURTHER as f64;
        Ok(Line::of(format!("instructions {workload}"), found, *budget, SLACK))
    };
    budget.iter().map(line).collect()
}

/// The instructions of one run.
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
        .with_context(|| format!("callgrind counted nothing of {workload}"))
}

fn ratios(ampoule: &Path, budget: &BTreeMap<String, f64>) -> Result<Vec<Line>> {
    let line = |(plugin, budget): (&String, &f64)| {
        let mut bench = Command::new(ampoule);
        bench.args(["plugin", "bench", &format!("builtin:{plugin}"), "-o", "json"]);
        let said = job::output(&mut bench, RUN_MAX).with_context(|| format!("{} failed", job::shown(&bench)))?;
        let figures: serde_json::Value = serde_json::from_str(&said)?;
        let least = |call: &str| figures[call]["min"].as_f64().with_context(|| format!("no {call} in {said}"));
        let (fresh, reused) = (least("freshCallMicros")?, least("reusedCallMicros")?);
        ensure!(reused > 0.0, "a reused instance of {plugin} answered in no time");
        // Times are noisy: nobody has to follow where one is short.
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
    fn what_costs_more_or_far_less_is_not_within() {
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
