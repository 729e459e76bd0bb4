//! `ampoule plugin bench`: measures a plugin's load time, call latency and memory.
//!
//! The measurement uses the engine of `serve`, one call at a time. An admission pays for a fresh
//! instance once per plugin, and for a reused instance with each further secret of the pod.

use std::{process::ExitCode, time::Duration};

use ampoule_core::{InjectionError, InjectorFailure, SecretInjector as _};
use ampoule_engine::{GuestLogLevel, Limits, PluginInjector};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    case::Case,
    workbench::{LogLine, Workbench, without_frames},
};
use crate::{
    args::{BenchArgs, TextOutput},
    commands::{
        component::{fetch_component, parse_source},
        output,
        progress::Progress,
        setup::{compile_cache, quiet_runtime},
    },
};
use ampoule_components::{builtins::Builtins, fetch::Component};
use ampoule_config::ComponentSource;

/// The number of fresh instances, each called twice: enough for a 99th percentile.
const SAMPLES: usize = 500;
/// The context of an error without a case.
const DEFAULT_CASE: &str =
    "the plugin does not answer the default case, which has no settings and no grants; choose a case with --case";
/// The largest memory limit to try, in MiB: 16 such instances fill a pod with 4 GiB.
const MAX_MEMORY_MIB: usize = 256;

/// The results.
#[derive(Debug)]
struct BenchResults {
    size: usize,
    compiled: Duration,
    cached: Duration,
    fresh: LatencySummary,
    /// The plugin's error if it does not inject: only an instance that injects is reused.
    reused: Result<LatencySummary, InjectionError>,
    /// What a fresh instance logged, at least as warnings.
    lines: Vec<LogLine>,
    /// The smallest `limits.memoryMiB` in which the plugin answers.
    memory_mib: usize,
    /// The grants that the component imports, and that the case does not have.
    missing_grants: Vec<String>,
}

/// Minimum, median and 99th percentile of durations.
#[derive(Debug)]
struct LatencySummary {
    min: Duration,
    median: Duration,
    p99: Duration,
}

/// The latency of a fresh instance's first call, and of its second call if the instance is reused.
type CallLatencies = (Duration, Result<Duration, InjectionError>);

/// The component to measure and the case that it answers.
struct BenchSubject {
    source: ComponentSource,
    component: Component,
    case: Case,
}

pub(crate) fn plugin_bench(args: &BenchArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let source = parse_source(&args.plugin.source, builtins)?;
    let case = match &args.case {
        Some(path) => Case::load(path)?,
        None => Case::default(),
    };
    let runtime = quiet_runtime()?;
    let cached = Workbench::new(compile_cache())?;
    let results = runtime.block_on(async {
        let component = fetch_component(&source, args.plugin.registries.clone().into(), builtins).await?;
        measure(&BenchSubject { source, component, case }, &cached).await
    });
    let results = match &args.case {
        Some(_) => results,
        None => results.context(DEFAULT_CASE),
    }?;
    output::print(&match args.output {
        TextOutput::Text => results.text(),
        TextOutput::Json => output::json(&results.json())?,
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Measures a component. The engine of `cached` has a compilation cache.
async fn measure(subject: &BenchSubject, cached: &Workbench) -> anyhow::Result<BenchResults> {
    let memory_mib = subject.find_memory_mib(cached).await?;
    let limits = subject.with_memory(memory_mib.max(Limits::default().memory >> 20));
    let uncached = Workbench::new(None)?;
    let (_, compiled) = subject.load(&uncached, &limits).await?;
    subject.load(cached, &limits).await?;
    let (plugin, from_cache) = subject.load(cached, &limits).await?;
    let progress = Progress::start("calling fresh instances");
    cached.lines.take();
    let mut latencies = vec![subject.call_twice(cached, &plugin).await?];
    let mut lines = cached.lines.take();
    lines.retain(|line| line.level >= GuestLogLevel::Warn);
    for _ in 1..SAMPLES {
        latencies.push(subject.call_twice(cached, &plugin).await?);
    }
    drop(progress);
    let (fresh, reused): (_, Vec<_>) = latencies.into_iter().unzip();
    let reused: Result<_, _> = reused.into_iter().collect();
    Ok(BenchResults {
        size: subject.component.bytes.len(),
        compiled,
        cached: from_cache,
        fresh: LatencySummary::summarise(fresh),
        reused: reused.map(LatencySummary::summarise),
        lines,
        memory_mib,
        missing_grants: plugin.missing_grants().iter().map(ToString::to_string).collect(),
    })
}

// === impl BenchSubject ===

impl BenchSubject {
    async fn load(&self, bench: &Workbench, limits: &Limits) -> anyhow::Result<(PluginInjector, Duration)> {
        let start = Instant::now();
        let plugin = bench.load(&self.case, &self.source, &self.component, limits.clone()).await?;
        Ok((plugin, start.elapsed()))
    }

    async fn try_memory(&self, bench: &Workbench, mib: usize) -> anyhow::Result<()> {
        let (plugin, _) = self.load(bench, &self.with_memory(mib)).await?;
        self.call_twice(bench, &plugin).await.map(drop)
    }

    /// The limits of the case, with this memory limit.
    fn with_memory(&self, mib: usize) -> Limits {
        Limits { memory: mib << 20, ..self.case.limits.clone() }
    }

    /// Calls a fresh instance twice.
    async fn call_twice(&self, bench: &Workbench, plugin: &PluginInjector) -> anyhow::Result<CallLatencies> {
        let (plugin, request) = (plugin.clone(), self.case.requests[0].clone());
        let pod = self.case.pod.view(&self.case.namespace).into();
        let calls = async move {
            let mut session = plugin.open();
            let start = Instant::now();
            let first = session.inject(&request, &pod).await;
            let fresh = start.elapsed();
            let again = session.inject(&request, &pod).await;
            let reused = start.elapsed() - fresh;
            first.and(again).map(|answer| (fresh, answer.map(|_| reused)))
        };
        match bench.engine.run(calls).await? {
            Ok(latencies) => Ok(latencies),
            Err(failure) => bail!("{}", failure_text(&failure)),
        }
    }

    /// Finds the smallest memory limit, in MiB, in which the plugin loads and answers.
    ///
    /// # Errors
    ///
    /// The plugin does not answer within [`MAX_MEMORY_MIB`].
    async fn find_memory_mib(&self, bench: &Workbench) -> anyhow::Result<usize> {
        let _progress = Progress::start("searching the smallest memory limit");
        let (mut least, mut enough) = (1, MAX_MEMORY_MIB);
        self.try_memory(bench, enough).await?;
        while least < enough {
            let middle = usize::midpoint(least, enough);
            if self.try_memory(bench, middle).await.is_ok() {
                enough = middle;
            } else {
                least = middle + 1;
            }
        }
        Ok(enough)
    }
}

// === impl BenchResults ===

impl BenchResults {
    fn text(&self) -> String {
        let mut text = format!("{:<16}{:>10}{:>10}{:>10}\n", "call", "min", "median", "p99");
        text += &self.fresh.row("fresh instance");
        text += &match &self.reused {
            Ok(reused) => reused.row("reused instance"),
            Err(error) => not_injected(error, &self.lines),
        };
        text.push('\n');
        for (label, value) in [
            ("load, compiled", format_duration(self.compiled)),
            ("load, cached", format_duration(self.cached)),
            ("component", format!("{} KiB", self.size.div_ceil(1 << 10))),
            ("memory needed", format!("{} MiB", self.memory_mib)),
        ] {
            text += &format!("{label:<16}{value:>10}\n");
        }
        if !self.missing_grants.is_empty() {
            let grants = self.missing_grants.join(", ");
            text += &format!("\nmeasured without the grants {grants}: choose a case that has them with --case\n");
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "freshCallMicros": self.fresh.json(),
            "reusedCallMicros": self.reused.as_ref().ok().map(LatencySummary::json),
            "loadCompiledMicros": micros(self.compiled),
            "loadCachedMicros": micros(self.cached),
            "componentBytes": self.size,
            "memoryMiB": self.memory_mib,
        })
    }
}

// === impl LatencySummary ===

impl LatencySummary {
    fn summarise(mut latencies: Vec<Duration>) -> Self {
        latencies.sort();
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
        Self { min: at(0), median: at(50), p99: at(99) }
    }

    fn row(&self, label: &str) -> String {
        let [min, median, p99] = [self.min, self.median, self.p99].map(format_duration);
        format!("{label:<16}{min:>10}{median:>10}{p99:>10}\n")
    }

    fn json(&self) -> Value {
        json!({ "min": micros(self.min), "median": micros(self.median), "p99": micros(self.p99) })
    }
}

/// Why only the first call was measured, with the plugin's log: it has the reason of an exception
/// that an SDK catches.
fn not_injected(error: &InjectionError, lines: &[LogLine]) -> String {
    let text =
        format!("reused instance: not measured, the plugin did not inject ({error}); choose a case with --case\n");
    lines.iter().fold(text, |text, line| text + &format!("  {line}\n"))
}

/// A failure with its details, one line each.
fn failure_text(failure: &InjectorFailure) -> String {
    let details = without_frames(failure.reason()).lines().map(|line| format!("\n  {line}"));
    details.fold(failure.outside.clone(), |text, line| text + &line)
}

/// Microseconds with two decimals: a call on a reused instance takes only a few microseconds.
fn micros(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e8).round() / 100.0
}

/// In microseconds below one millisecond, otherwise in milliseconds.
fn format_duration(duration: Duration) -> String {
    match duration.as_micros() {
        micros @ 0..1000 => format!("{micros} µs"),
        _ => format!("{:.1} ms", duration.as_secs_f64() * 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_option_for_a_case_if_grants_are_missing() {
        let latency = || LatencySummary::summarise(vec![Duration::from_micros(7)]);
        let results = |missing_grants: &[&str]| BenchResults {
            size: 1,
            compiled: Duration::from_millis(2),
            cached: Duration::from_millis(1),
            fresh: latency(),
            reused: Ok(latency()),
            lines: Vec::new(),
            memory_mib: 1,
            missing_grants: missing_grants.iter().map(ToString::to_string).collect(),
        };
        assert!(!results(&[]).text().contains("--case"));
        let expected = "\nmeasured without the grants http, cache: choose a case that has them with --case\n";
        let text = results(&["http", "cache"]).text();
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn prints_what_the_plugin_logged_if_it_did_not_inject() {
        let error = InjectionError::Internal("the plugin failed (TypeError)".to_owned());
        let line = |level, text: &str| LogLine { level, text: text.to_owned() };
        let lines = [line(GuestLogLevel::Warn, "an old key"), line(GuestLogLevel::Error, "TypeError: no account")];
        insta::assert_snapshot!(not_injected(&error, &lines), @"
        reused instance: not measured, the plugin did not inject (internal: the plugin failed (TypeError)); choose a case with --case
          warn  an old key
          error TypeError: no account
        ");
    }
}
