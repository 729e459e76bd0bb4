//! The open loop: [`steady`] has a request due at each tick of a clock, whatever became of those before.
//!
//! A latency counts from the moment that the request was due to the last byte of its answer, so a server that stalls shows it in every
//! request that was due meanwhile: those that wait for a connection are not left out ("coordinated omission").
//!
//! A thread of the operating system keeps the time, as tokio's timers tick in milliseconds. What error remains is in the latencies: the
//! sleep's slack, about 60 µs on an idle Linux ([`Report::lateness`]), and the way from that thread to the connection's, tens of
//! microseconds; more of both where generator and server share the processors. It is the same for every server, so differences are right.

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

/// Requests of one load, warm-up included. All of them may wait at once, at 16 bytes each.
const MOST_REQUESTS: f64 = 10_000_000.0;

/// From the call to the first request: the threads are up by then.
const LEAD: Duration = Duration::from_millis(20);

/// A load at a fixed rate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Requests per second.
    pub rate: f64,
    /// At most so many at once: a request that finds none idle, and may open none, waits. The one that idled longest is taken.
    pub connections: usize,
    /// Whether they are kept.
    pub reuse: Reuse,
    /// At first, requests are sent this long that the report leaves out.
    pub warm_up: Duration,
    /// And then this long those that are in it.
    pub duration: Duration,
}

/// A plan as the clock takes it: request `i` is due at `start + i × period`, and those before `first` are the warm-up.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    start: Instant,
    period: f64,
    first: u64,
    count: u64,
}

/// The requests that are due, for whichever connection is free.
type Queue = Arc<Mutex<UnboundedReceiver<Due>>>;

/// A request that is due.
struct Due {
    at: Instant,
    counts: bool,
}

/// Sends requests at the plan's rate and reports on them. It takes as long as the plan says, and at most the target's timeout more.
///
/// # Errors
///
/// If the plan has no rate, no connections, or too many requests or connections; or if there are no threads. What the target does is no error.
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

/// Takes what is due until nothing is to come.
async fn work(mut client: Client, queue: Queue, end: Instant) -> Report {
    let mut report = Report::default();
    loop {
        // The lock is fair: it goes to the connection that has waited longest.
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

    /// Hands each request out when it is due. One that is late is handed out at once, and with the time that it was due.
    fn keep(&self, due: &UnboundedSender<Due>) -> Histogram<u64> {
        let mut lateness = Report::default().lateness;
        for request in 0..self.count {
            let at = self.due(request);
            thread::sleep(at.saturating_duration_since(Instant::now()));
            let counts = request >= self.first;
            if counts {
                lateness += nanos(at.elapsed());
            }
            // The connections end after this, as the sender is dropped then.
            let _ = due.send(Due { at, counts });
        }
        lateness
    }
}
