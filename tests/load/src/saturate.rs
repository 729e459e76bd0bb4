//! The closed loop: with [`saturate`], each connection sends its next request when the previous one
//! is answered, which measures the maximum throughput.
//!
//! Its latencies are those of a saturated server; [`crate::steady()`] measures latencies at a given
//! rate.

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

/// A load at maximum throughput. Each connection opens with one request that the report excludes.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// Number of concurrent connections.
    pub connections: usize,
    /// Whether connections are kept.
    pub reuse: Reuse,
    /// The load ends after this number of requests.
    pub requests: u64,
    /// Or after this time.
    pub duration: Duration,
}

/// State that the connections share.
struct Shared {
    flood: Flood,
    started: AtomicU64,
    opened: Barrier,
    timeout: Duration,
}

/// Sends requests in sequence on each connection, and reports on them.
///
/// # Errors
///
/// If there are no connections or too many, or if threads cannot be started. Failures of the target
/// are not errors.
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
    // If this request fails, the counted ones fail too.
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
