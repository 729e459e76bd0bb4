//! `ampoule plugin bench`: how long a plugin takes to load and to answer, and how much memory it needs.
//!
//! Measured in the engine that serves, one call at a time. An admission pays for a fresh instance once per plugin, and for a
//! reused one with every further secret of its pod.

use std::{process::ExitCode, time::Duration};

use ampoule_core::{InjectionError, SecretInjector as _};
use ampoule_engine::{Limits, PluginInjector};
use anyhow::bail;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Workbench, cache, case::Case, fetch, source};
use crate::{
    args::{BenchArgs, PluginArg, TextOutput},
    commands::{output, quiet_runtime},
};
use ampoule_components::{builtins::Builtins, fetch::Component};
use ampoule_config::ComponentSource;

/// Fresh instances, each asked twice: enough for a 99th percentile.
const SAMPLES: usize = 500;
/// The largest memory that is tried, in MiB; as much as 16 instances may have of a pod with 4 GiB.
const MOST_MEMORY: usize = 256;

/// What was measured.
#[derive(Debug)]
pub(super) struct Figures {
    size: usize,
    compiled: Duration,
    cached: Duration,
    fresh: Spread,
    /// Or why there is none: an instance that does not inject is not kept.
    reused: Result<Spread, InjectionError>,
    /// The smallest `limits.memoryMiB` that it answers in.
    memory_mib: usize,
}

/// How a duration is spread.
#[derive(Debug)]
struct Spread {
    min: Duration,
    median: Duration,
    p99: Duration,
}

/// Of a fresh instance, and of the same asked again, if it is kept.
type Times = (Duration, Result<Duration, InjectionError>);

/// What is measured.
struct Subject {
    source: ComponentSource,
    component: Component,
    case: Case,
}

pub(crate) fn plugin_bench(args: &BenchArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let BenchArgs { plugin, case, output } = args;
    let PluginArg { source: text, registries } = plugin;
    let source = source(text, builtins)?;
    let case = case.as_ref().map_or_else(|| Ok(Case::default()), |path| Case::load(path))?;
    let runtime = quiet_runtime()?;
    let cached = Workbench::new(cache())?;
    let figures = runtime.block_on(async {
        let component = fetch(&source, registries.clone().into(), builtins).await?;
        measure(&Subject { source, component, case }, &cached).await
    })?;
    output::print(&match output {
        TextOutput::Text => figures.text(),
        TextOutput::Json => output::json(&figures.json())?,
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `cached` has a cache of compiled components.
async fn measure(subject: &Subject, cached: &Workbench) -> anyhow::Result<Figures> {
    let memory_mib = subject.memory(cached).await?;
    let limits = with_memory(memory_mib.max(Limits::default().memory >> 20));
    let uncached = Workbench::new(None)?;
    let (_, compiled) = subject.load(&uncached, &limits).await?;
    subject.load(cached, &limits).await?;
    let (plugin, from_cache) = subject.load(cached, &limits).await?;
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        times.push(subject.ask(cached, &plugin).await?);
    }
    let (fresh, reused): (_, Vec<_>) = times.into_iter().unzip();
    let reused = reused.into_iter().collect::<Result<_, _>>().map(Spread::of);
    let size = subject.component.bytes.len();
    Ok(Figures { size, compiled, cached: from_cache, fresh: Spread::of(fresh), reused, memory_mib })
}

// === impl Subject ===

impl Subject {
    async fn load(&self, bench: &Workbench, limits: &Limits) -> anyhow::Result<(PluginInjector, Duration)> {
        let Self { source, component, case } = self;
        let begun = Instant::now();
        let plugin = bench.load(case, source, component, limits.clone()).await?;
        Ok((plugin, begun.elapsed()))
    }

    async fn answers(&self, bench: &Workbench, mib: usize) -> anyhow::Result<()> {
        let (plugin, _) = self.load(bench, &with_memory(mib)).await?;
        self.ask(bench, &plugin).await.map(drop)
    }

    /// How long a fresh instance takes to answer, and how long to answer again.
    async fn ask(&self, bench: &Workbench, plugin: &PluginInjector) -> anyhow::Result<Times> {
        let (plugin, request, pod) = (plugin.clone(), self.case.request.clone(), self.case.pod.clone());
        let asked = async move {
            let mut session = plugin.open();
            let begun = Instant::now();
            let first = session.inject(&request, &pod).await;
            let fresh = begun.elapsed();
            let again = session.inject(&request, &pod).await;
            let reused = begun.elapsed() - fresh;
            first.and(again).map(|answer| (fresh, answer.map(|_| reused)))
        };
        match bench.engine.run(asked).await? {
            Ok(times) => Ok(times),
            Err(failure) => bail!("{failure} {}", failure.inside),
        }
    }

    /// The smallest limit, in MiB, that it loads and answers in; an error if it does not answer in the largest that is tried.
    async fn memory(&self, bench: &Workbench) -> anyhow::Result<usize> {
        let (mut least, mut enough) = (1, MOST_MEMORY);
        self.answers(bench, enough).await?;
        while least < enough {
            let middle = usize::midpoint(least, enough);
            if self.answers(bench, middle).await.is_ok() {
                enough = middle;
            } else {
                least = middle + 1;
            }
        }
        Ok(enough)
    }
}

// === impl Figures ===

impl Figures {
    fn text(&self) -> String {
        let Self { size, compiled, cached, fresh, reused, memory_mib } = self;
        let row = |what: &str, Spread { min, median, p99 }: &Spread| {
            format!("{what:<16}{:>10}{:>10}{:>10}\n", shown(*min), shown(*median), shown(*p99))
        };
        let line = |what: &str, value: String| format!("{what:<16}{value:>10}\n");
        [
            format!("{:<16}{:>10}{:>10}{:>10}\n", "call", "min", "median", "p99"),
            row("fresh instance", fresh),
            match reused {
                Ok(reused) => row("reused instance", reused),
                Err(declined) => format!("reused instance: none, as one that does not inject is not kept ({declined}); name a case (--case)\n"),
            },
            "\n".to_owned(),
            line("load, compiled", shown(*compiled)),
            line("load, cached", shown(*cached)),
            line("component", format!("{} KiB", size.div_ceil(1 << 10))),
            line("memory, at most", format!("{memory_mib} MiB")),
        ]
        .concat()
    }

    fn json(&self) -> Value {
        let Self { size, compiled, cached, fresh, reused, memory_mib } = self;
        let spread = |Spread { min, median, p99 }: &Spread| json!({ "min": micros(*min), "median": micros(*median), "p99": micros(*p99) });
        json!({
            "freshCallMicros": spread(fresh),
            "reusedCallMicros": reused.as_ref().ok().map(spread),
            "loadCompiledMicros": micros(*compiled),
            "loadCachedMicros": micros(*cached),
            "componentBytes": size,
            "memoryMiB": memory_mib,
        })
    }
}

// === impl Spread ===

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        Self { min: at(0), median: at(50), p99: at(99) }
    }
}

fn with_memory(mib: usize) -> Limits {
    Limits { memory: mib << 20, ..Limits::default() }
}

/// To the hundredth: a call on a reused instance takes few.
fn micros(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e8).round() / 100.0
}

/// In microseconds, or from a millisecond on in those.
fn shown(duration: Duration) -> String {
    match duration.as_micros() {
        micros @ 0..1000 => format!("{micros} µs"),
        _ => format!("{:.1} ms", duration.as_secs_f64() * 1e3),
    }
}
