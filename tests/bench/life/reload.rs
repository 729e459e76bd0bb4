//! The cost of a reload: the delay until a changed configuration is in effect, and the latency of
//! admissions during the reload.
//!
//! The change is a convention, so the plugin is recompiled unless the compile cache holds it.

use std::{
    thread,
    time::{Duration, Instant},
};

use ampoule_load::{Plan, Report, Reuse, Target, steady};
use ampoule_tests::{
    Connection,
    figures::{Cell, Table},
};
use anyhow::{Result, ensure};
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::sleep};

use super::{injectors, median, server::Server};

/// Request rate of the load during a reload: a twentieth of the capacity of a small machine.
const PER_SECOND: f64 = 500.0;
/// The process notices a change after two polls of the file, one second apart.
const LOAD: Duration = Duration::from_secs(6);
/// Delay between the start of the load and the change.
const BEFORE: Duration = Duration::from_secs(1);
/// Interval between polls for the change to take effect.
const LOOK: Duration = Duration::from_millis(5);
/// A change that is not in effect by then was refused.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures `times` reloads with and without a compile cache, and the same load without a reload.
pub(super) fn table(folder: &TempDir, times: usize) -> Result<Table> {
    let title = format!("A reload with {PER_SECOND} admissions per second, {times} each");
    let columns = ["", "change to first answer with it", "p99", "slowest admission", "admissions", "failed"];
    let mut table = Table::new(title, &columns);
    let injectors = injectors(folder.path(), 1)?;
    let cached = format!("engine: {{ cacheDirectory: '{}' }}\n{injectors}", folder.path().join("reload").display());
    for (name, config) in [("plugin recompiled", &injectors), ("compile cache warm", &cached)] {
        let server = Server::start(config)?;
        let (mut took, mut all) = (Vec::new(), Report::default());
        for i in 0..times {
            let changed = format!("conventions: {{ envPrefix: CHANGED_{i}_ }}\n{config}");
            let (after, report) = reload(&server, &changed)?;
            took.push(after);
            all.add(&report);
        }
        row(&mut table, name, Cell::Time(median(took)), &all);
    }
    let server = Server::start(&injectors)?;
    let mut all = Report::default();
    for _ in 0..times {
        all.add(&steady(server.target(), &plan())?);
    }
    row(&mut table, "no reload", Cell::name("–"), &all);
    Ok(table)
}

fn row(table: &mut Table, name: &str, took: Cell, report: &Report) {
    let failed: u64 = report.failed.values().sum();
    let times = [report.latency(0.99), report.latency(1.0)].map(Cell::Time);
    let counts = [report.answered, failed].map(Cell::Count);
    table.row([Cell::name(name), took].into_iter().chain(times).chain(counts));
}

fn plan() -> Plan {
    Plan { rate: PER_SECOND, connections: 8, reuse: Reuse::KeepAlive, warm_up: Duration::ZERO, duration: LOAD }
}

/// Time from the change to the first answer that reflects it, and the load's report.
fn reload(server: &Server, changed: &str) -> Result<(Duration, Report)> {
    thread::scope(|scope| {
        let load = scope.spawn(|| steady(server.target(), &plan()));
        thread::sleep(BEFORE);
        let after = Runtime::new()?.block_on(change(server, changed))?;
        let report = load.join().expect("the load does not panic")?;
        Ok((after, report))
    })
}

async fn change(server: &Server, changed: &str) -> Result<Duration> {
    let Target { address, path, body, .. } = server.target();
    let mut connection = Connection::tls(*address, server.trust()).await?;
    let before = connection.post(path, body.clone()).await?.body;
    server.configure(changed)?;
    let begun = Instant::now();
    while connection.post(path, body.clone()).await?.body == before {
        ensure!(begun.elapsed() < LIMIT, "the change is not in effect after {LIMIT:?}");
        sleep(LOOK).await;
    }
    Ok(begun.elapsed())
}
