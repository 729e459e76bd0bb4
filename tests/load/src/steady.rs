//! The open loop: [`steady`] schedules a request at each tick of a clock, independent of earlier
//! requests.
//!
//! A latency lasts from the scheduled time of the request to the last byte of its answer. So a
//! server that stalls affects every request that is scheduled meanwhile: requests that wait for a
//! connection are included ("coordinated omission").
//!
//! A thread of the operating system keeps the time, because tokio's timers tick in milliseconds.
//! The latencies include the remaining error: the inaccuracy of the sleep, about 60 µs on an idle
//! Linux ([`Report::lateness`]), and the hop from that thread to the connection's thread, tens of
//! microseconds; both grow if generator and server share processors. The error is the same for
//! every server, so differences are accurate.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use tokio::{
    sync::{
        Mutex,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    task::JoinSet,
};

use crate::{MOST_CONNECTIONS, Report, Reuse, Target, client::Client, report::nanos, runtime};

/// Maximum number of requests, including the warm-up. All of them may be queued at once, with 16
/// bytes each.
const MOST_REQUESTS: f64 = 10_000_000.0;

/// Delay between the call and the first request, for the threads to start.
const LEAD: Duration = Duration::from_millis(20);

/// A load at a fixed rate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Requests per second.
    pub rate: f64,
    /// Maximum number of connections. A request waits if none is idle and no further one may be
    /// opened. The connection that has been idle longest is used.
    pub connections: usize,
    /// Whether connections are kept.
    pub reuse: Reuse,
    /// Duration of the warm-up, which the report excludes.
    pub warm_up: Duration,
    /// Duration of the measurement after the warm-up.
    pub duration: Duration,
}

/// A plan as a schedule: request `i` is due at `start + i × period`, and requests before `first`
/// are the warm-up.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    start: Instant,
    period: f64,
    first: u64,
    count: u64,
}

/// The due requests, taken by any free connection.
type Queue = Arc<Mutex<UnboundedReceiver<Due>>>;

/// A due request.
struct Due {
    at: Instant,
    counts: bool,
}

/// Sends requests at the plan's rate, and reports on them. It takes the planned time, and at most
/// the target's timeout in addition.
///
/// # Errors
///
/// If the plan has no rate, no connections, or too many requests or connections, or if threads
/// cannot be started. Failures of the target are not errors.
pub fn steady(target: &Target, plan: &Plan) -> Result<Report> {
    let runtime = runtime()?;
    let schedule = Schedule::new(plan, Instant::now() + LEAD)?;
    let end = schedule.due(schedule.count) + target.timeout;
    let (due, queue) = unbounded_channel();
    let queue = Arc::new(Mutex::new(queue));
    let target = Arc::new(target.clone());
    let clients: Result<Vec<_>> = (0..plan.connections).map(|_| Client::new(Arc::clone(&target), plan.reuse)).collect();
    let clients = clients?;
    let clock = thread::Builder::new().name("load-clock".to_owned());
    let clock = clock.spawn(move || schedule.keep(&due)).context("no thread for the load's clock")?;
    let report = runtime.block_on(async {
        let works = clients.into_iter().map(|client| work(client, Arc::clone(&queue), end));
        let mut report = Report::default();
        for of_one in works.collect::<JoinSet<_>>().join_all().await {
            report.absorb(&of_one);
        }
        report
    });
    let elapsed = schedule.due(schedule.first).elapsed();
    let lateness = clock.join().expect("the clock does not panic");
    Ok(Report { elapsed, lateness, ..report })
}

/// Sends due requests until the schedule ends.
async fn work(mut client: Client, queue: Queue, end: Instant) -> Report {
    let mut report = Report::default();
    loop {
        // The lock is fair: the connection that has waited longest acquires it.
        let Some(Due { at, counts }) = queue.lock().await.recv().await else { return report };
        let outcome = client.exchange(end.into()).await;
        if counts {
            report.record(outcome, at.elapsed());
        }
    }
}

// === impl Schedule ===

impl Schedule {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "both are positive and at most MOST_REQUESTS"
    )]
    fn new(plan: &Plan, start: Instant) -> Result<Self> {
        let Plan { rate, connections, reuse: _, warm_up, duration } = *plan;
        ensure!((1..=MOST_CONNECTIONS).contains(&connections), "a load has 1 to {MOST_CONNECTIONS} connections");
        ensure!(rate.is_finite() && rate > 0.0, "a load needs a rate");
        let count = (rate * (warm_up + duration).as_secs_f64()).ceil();
        ensure!(count <= MOST_REQUESTS, "a load has at most {MOST_REQUESTS} requests");
        let first = (rate * warm_up.as_secs_f64()).ceil();
        Ok(Self { start, period: rate.recip(), first: first as u64, count: count as u64 })
    }

    #[allow(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
    fn due(&self, request: u64) -> Instant {
        self.start + Duration::from_secs_f64(request as f64 * self.period)
    }

    /// Queues each request when it is due. A late request is queued at once, with its scheduled
    /// time.
    fn keep(&self, due: &UnboundedSender<Due>) -> Histogram<u64> {
        let mut lateness = Report::default().lateness;
        for request in 0..self.count {
            let at = self.due(request);
            thread::sleep(at.saturating_duration_since(Instant::now()));
            let counts = request >= self.first;
            if counts {
                lateness += nanos(at.elapsed());
            }
            // The connections end after the last request, because the sender is dropped.
            let _ = due.send(Due { at, counts });
        }
        lateness
    }
}
