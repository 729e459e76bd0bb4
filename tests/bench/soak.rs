//! A soak test: a process under load for ten minutes, at half of its capacity, while its
//! configuration and its certificate change repeatedly. No request may fail, and neither memory nor
//! file descriptors may grow.
//!
//! The program returns an error when one of these conditions is violated. `--quick` runs for half a
//! minute.

#[allow(dead_code, reason = "shared by benchmarks that each use a part")]
#[path = "life/server.rs"]
mod server;
#[allow(dead_code, reason = "shared by benchmarks that each use a part")]
#[path = "support.rs"]
mod support;

use std::{
    thread,
    time::{Duration, SystemTime},
};

use ampoule_cluster::certs::{CertificatePair, CertificateSubject};
use ampoule_load::{Flood, Plan, Reuse, saturate, steady};
use ampoule_tests::{
    Mounted,
    figures::{Cell, Part, Table},
};
use anyhow::{Context as _, Result, ensure};
use rustls_pki_types::ServerName;

use self::server::{Certificate, Server};

const HOST: &str = "ampoule.ampoule.svc";
/// Rounds, each with one change of the configuration and one of the certificate.
const ROUNDS: usize = 20;
const CONNECTIONS: usize = 8;
/// When plugins are replaced, the allocator keeps a part of the memory of the previous ones.
const GROWTH: f64 = 1.10;
const ABOUT: &str = "The release binary under a steady load at half of its maximum throughput; each round changes the \
    configuration and the certificate. Connections live for ten seconds.";

fn main() -> Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let round = Duration::from_millis(if quick { 1_500 } else { 30_000 });
    let pairs = (0..=ROUNDS).map(|_| issue()).collect::<Result<Vec<_>>>()?;
    let roots: String = pairs.iter().map(|pair| pair.ca_pem.as_str()).collect();
    let mut certificate = Mounted::new(&files(&pairs[0]))?;
    let named = Certificate { folder: certificate.path(), host: HOST, roots: &roots };
    let server = Server::start_with(&config(0), Some(&named))?;
    let mut target = server.target().clone();
    target.server_name = ServerName::try_from(HOST)?;

    let flood = Flood {
        connections: CONNECTIONS,
        reuse: Reuse::KeepAlive,
        requests: 10_000_000,
        duration: Duration::from_secs(if quick { 1 } else { 5 }),
    };
    let most = saturate(&target, &flood)?;
    most.ensure_no_failure()?;
    let plan = Plan {
        rate: most.rate() / 2.0,
        connections: CONNECTIONS,
        reuse: Reuse::KeepAlive,
        warm_up: Duration::ZERO,
        duration: round,
    };
    let columns = ["round", "admissions", "failed", "p99", "slowest", "memory", "file descriptors"];
    let title = format!("{ROUNDS} rounds of {round:?} at {:.0} admissions per second", plan.rate);
    let mut table = Table::new(title, &columns);
    let mut seen = Vec::new();
    for (i, pair) in (1..).zip(&pairs[1..]) {
        let report = thread::scope(|scope| -> Result<_> {
            let load = scope.spawn(|| steady(&target, &plan));
            thread::sleep(round / 4);
            server.configure(&config(i))?;
            thread::sleep(round / 4);
            certificate.swap(&files(pair))?;
            load.join().expect("the load does not panic")
        })?;
        let (memory, descriptors) = (server.resident_kib()?, server.descriptors()?);
        let failed: u64 = report.failed.values().sum();
        let counts = [i as u64, report.answered, failed].map(Cell::Count);
        let times = [report.latency(0.99), report.latency(1.0)].map(Cell::Time);
        table.row(counts.into_iter().chain(times).chain([Cell::Kib(memory), Cell::Count(descriptors)]));
        report.ensure_no_failure().with_context(|| format!("round {i}"))?;
        seen.push((memory, descriptors));
    }
    let mut part = Part::new("soak", "Ten minutes of load", ABOUT);
    part.table(table);
    part.write()?;
    ensure_changed(&server, if quick { 1 } else { ROUNDS })?;
    ensure_flat(&seen)
}

/// Verifies that all configurations and certificates took effect and none was refused.
#[allow(clippy::cast_precision_loss, reason = "a count of rounds is far below 2^52")]
fn ensure_changed(server: &Server, least: usize) -> Result<()> {
    for (changes, good, bad) in [
        ("ampoule_config_reloads_total", "applied", "refused"),
        ("ampoule_certificate_reloads_total", "adopted", "refused"),
    ] {
        let count = |result| server.metric(&format!("{changes}{{result=\"{result}\"}}"));
        let (good, bad) = (count(good)?, count(bad)?);
        ensure!(good >= least as f64 && bad == 0.0, "{changes}: {good} of {least}, and {bad} refused");
    }
    Ok(())
}

/// Verifies that the second half of the rounds stays within the maximum of the first half, plus a
/// margin for the allocator.
fn ensure_flat(seen: &[(u64, u64)]) -> Result<()> {
    let (first, second) = seen.split_at(seen.len() / 2);
    let most = |rounds: &[(u64, u64)], of: fn(&(u64, u64)) -> u64| rounds.iter().map(of).max().unwrap_or_default();
    let (before, after) = (most(first, |seen| seen.0), most(second, |seen| seen.0));
    #[allow(clippy::cast_precision_loss, reason = "memory in KiB is far below 2^52")]
    let growth = after as f64 / before as f64;
    ensure!(growth <= GROWTH, "memory grew from {before} KiB to {after} KiB");
    let (before, after) = (most(first, |seen| seen.1), most(second, |seen| seen.1));
    ensure!(after <= before + 2, "file descriptors grew from {before} to {after}");
    Ok(())
}

/// A configuration whose plugin settings differ from the previous round's, so that the plugin is
/// reloaded.
fn config(round: usize) -> String {
    format!("server: {{ maxConnectionAgeSeconds: 10 }}\nconventions: {{ envPrefix: ROUND_{round}_ }}\n")
}

fn issue() -> Result<CertificatePair> {
    Ok(CertificatePair::issue(
        CertificateSubject::service("ampoule", "ampoule", Duration::from_secs(3600)),
        SystemTime::now(),
    )?)
}

fn files(pair: &CertificatePair) -> [(&'static str, &str); 3] {
    [("ca.crt", &pair.ca_pem), ("tls.crt", &pair.certificate_pem), ("tls.key", &pair.key_pem)]
}
