//! The life of a process, measured on the release binary: time from start to ready, memory, and the
//! cost of a reload.
//!
//! The binary is `$AMPOULE_BIN` (set by `cargo xtask bench`), or the one that cargo built next to
//! this program.

#[path = "life/reload.rs"]
mod reload;
#[allow(dead_code, reason = "shared by benchmarks that each use a part")]
#[path = "life/server.rs"]
mod server;
#[allow(dead_code, reason = "shared by benchmarks that each use a part")]
#[path = "support.rs"]
mod support;

use std::{fs, path::Path, thread::sleep, time::Duration};

use ampoule_load::{Flood, Reuse, saturate};
use ampoule_tests::figures::{Cell, Part, Plot, Table};
use anyhow::{Context as _, Result};
use tempfile::TempDir;

use self::server::Server;

const ABOUT: &str = "The release binary as a process, from its `exec` to its ready file. The plugins are built-in ones in \
    turn, from files that differ in a byte, so that none is shared. Memory is `VmRSS`, which includes the mapped \
    files of the compile cache.";

/// Delay between the ready file and the memory measurement: memory needed only for the start is
/// released by then.
const SETTLED: Duration = Duration::from_secs(1);

/// Sizes of the measurements.
struct Extent {
    plugins: &'static [usize],
    starts: usize,
    admissions: &'static [u64],
    reloads: usize,
}

const FULL: Extent = Extent { plugins: &[1, 6, 50], starts: 5, admissions: &[1_000, 10_000, 100_000], reloads: 3 };
const QUICK: Extent = Extent { plugins: &[1, 6], starts: 1, admissions: &[100, 1_000], reloads: 1 };

fn main() -> Result<()> {
    let extent = if std::env::args().any(|argument| argument == "--quick") { QUICK } else { FULL };
    let folder = tempfile::Builder::new().prefix("ampoule-bench-").tempdir()?;
    let mut part = Part::new("life", "The life of a process", ABOUT);
    starts(&mut part, &folder, &extent)?;
    memory_by_admissions(&mut part, &folder, &extent)?;
    part.table(reload::table(&folder, extent.reloads)?);
    part.write()
}

/// Measurements of several starts.
struct Starts {
    ready: Duration,
    memory: u64,
}

fn starts(part: &mut Part, folder: &TempDir, extent: &Extent) -> Result<()> {
    let columns = ["plugins", "ready", "memory", "ready, compile cache warm", "memory, compile cache warm"];
    let mut table =
        Table::new(format!("From start to ready, and memory at rest, medians of {}", extent.starts), &columns);
    let mut memory = [Vec::new(), Vec::new()];
    for count in extent.plugins {
        let injectors = injectors(folder.path(), *count)?;
        let cold = start(&injectors, extent.starts)?;
        let cache = folder.path().join(format!("cache-{count}"));
        let cached = format!("engine: {{ cacheDirectory: '{}' }}\n{injectors}", cache.display());
        // The first start fills the cache.
        drop(Server::start(&cached)?);
        let warm = start(&cached, extent.starts)?;
        let cells = [&cold, &warm].map(|Starts { ready, memory }| [Cell::Time(*ready), Cell::Kib(*memory)]);
        table.row([Cell::Count(*count as u64)].into_iter().chain(cells.into_iter().flatten()));
        for (all, one) in memory.iter_mut().zip([cold.memory, warm.memory]) {
            all.push(mib(one));
        }
    }
    part.table(table);
    let [cold, warm] = memory;
    part.plot(Plot {
        name: "memory-by-plugins",
        title: "Memory at rest".to_owned(),
        x: "plugins",
        y: "MiB",
        at: extent.plugins.iter().map(ToString::to_string).collect(),
        lines: vec![("compiled at the start".to_owned(), cold), ("compile cache warm".to_owned(), warm)],
    });
    Ok(())
}

fn start(config: &str, times: usize) -> Result<Starts> {
    let (mut ready, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let server = Server::start(config)?;
        sleep(SETTLED);
        ready.push(server.ready_after());
        memory.push(server.resident_kib()?);
    }
    Ok(Starts { ready: median(ready), memory: median(memory) })
}

/// The `injectors` section with `count` injectors, each with its own component.
fn injectors(folder: &Path, count: usize) -> Result<String> {
    let mut text = "injectors:\n".to_owned();
    for (i, name) in (0..count).zip(support::WITHOUT_SETTINGS.iter().cycle()) {
        let component = ampoule_plugin_bundle::component(name).context("the plugin is built in")?;
        let file = folder.join(format!("{i}.wasm"));
        // A custom section at the end: its id, its size, a name of one byte, and a byte that
        // differs.
        let section = [0, 3, 1, b'b', u8::try_from(i)?];
        fs::write(&file, [component, &section[..]].concat())?;
        text += &format!("- {{ name: {name}-{i}, component: 'file:{}' }}\n", file.display());
    }
    Ok(text)
}

fn memory_by_admissions(part: &mut Part, folder: &TempDir, extent: &Extent) -> Result<()> {
    let server = Server::start(&injectors(folder.path(), 1)?)?;
    sleep(SETTLED);
    let mut all = vec![(0, server.resident_kib()?)];
    for total in extent.admissions {
        let (before, _) = all[all.len() - 1];
        // Each connection sends one request before the measurement.
        let connections = 8;
        let requests = total - before - connections as u64;
        let flood = Flood { connections, reuse: Reuse::KeepAlive, requests, duration: Duration::from_secs(600) };
        saturate(server.target(), &flood)?.ensure_no_failure()?;
        all.push((*total, server.resident_kib()?));
    }
    let mut table = Table::new("Memory by admissions of three secrets, with one plugin", &["admissions", "memory"]);
    for (admissions, memory) in &all {
        table.row([Cell::Count(*admissions), Cell::Kib(*memory)]);
    }
    part.table(table);
    part.plot(Plot {
        name: "memory-by-admissions",
        title: "Memory after admissions".to_owned(),
        x: "admissions",
        y: "MiB",
        at: all.iter().map(|(admissions, _)| admissions.to_string()).collect(),
        lines: vec![("one plugin".to_owned(), all.iter().map(|(_, memory)| mib(*memory)).collect())],
    });
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "memory in KiB is far below 2^52")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}
