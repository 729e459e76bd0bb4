//! The closed loop: [`saturate`] has each connection send as soon as it is answered, to see how much is answered at most.
//!
//! Its latencies are those of a server at its limit; what one is at a rate of its own, [`crate::steady()`] says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::{sync::Barrier, task::JoinSet};

use crate::{MOST_CONNECTIONS, Report, Reuse, Target, client::Client, runtime};

/// As many requests as are answered. Each connection sends one before, which the report leaves out: it opens it.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// All of them at once.
    pub connections: usize,
    /// Whether they are kept.
    pub reuse: Reuse,
    /// It ends after so many requests.
    pub requests: u64,
    /// Or after this long.
    pub duration: Duration,
}

/// What the connections share.
struct Shared {
    flood: Flood,
    started: AtomicU64,
    opened: Barrier,
    timeout: Duration,
}

/// Sends requests on each connection, one after the other, and reports on them.
///
/// # Errors
///
/// If there are no connections or too many; or if there are no threads. What the target does is no error.
pub fn saturate(target: &Target, flood: &Flood) -> Result<Report> {
    let connections = flood.connections;
    ensure!((1..=MOST_CONNECTIONS).contains(&connections), "a load has 1 to {MOST_CONNECTIONS} connections");
    let runtime = runtime()?;
    let target = Arc::new(target.clone());
    let clients: Result<Vec<_>> = (0..connections).map(|_| Client::new(Arc::clone(&target), flood.reuse)).collect();
    let shared = Arc::new(Shared {
        flood: *flood,
        started: AtomicU64::new(0),
        opened: Barrier::new(connections),
        timeout: target.timeout,
    });
    let works = clients?.into_iter().map(|client| work(client, Arc::clone(&shared)));
    Ok(runtime.block_on(async {
        let mut report = Report::default();
        for of_one in works.collect::<JoinSet<_>>().join_all().await {
            report.absorb(&of_one);
            report.elapsed = report.elapsed.max(of_one.elapsed);
        }
        report
    }))
}

async fn work(mut client: Client, shared: Arc<Shared>) -> Report {
    let Shared { flood: Flood { requests, duration, .. }, started, opened, timeout } = &*shared;
    // If it fails, so do those that count.
    let _ = client.exchange((Instant::now() + *timeout).into()).await;
    opened.wait().await;
    let mut report = Report::default();
    let start = Instant::now();
    let end = start + *duration + *timeout;
    while start.elapsed() < *duration && started.fetch_add(1, Relaxed) < *requests {
        let sent = Instant::now();
        let outcome = client.exchange(end.into()).await;
        report.record(outcome, sent.elapsed());
    }
    report.elapsed = start.elapsed();
    report
}
