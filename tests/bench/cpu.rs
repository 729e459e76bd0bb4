//! Processor time of an admission: that of the serving process for a fixed number of requests over
//! TLS, and that of each phase in process.
//!
//! Processor time depends less on other load of the machine than elapsed time does. The kernel
//! counts it in units of 10 ms, so that a round has thousands of requests.

#[allow(dead_code, reason = "shared by benchmarks that each use a part")]
#[path = "support.rs"]
mod support;

#[allow(dead_code, reason = "shared with the benchmark over TLS")]
#[path = "tls/used.rs"]
mod used;

#[allow(dead_code, reason = "shared with the benchmark over TLS")]
#[path = "tls/consoles.rs"]
mod consoles;

#[allow(dead_code, reason = "shared with the benchmark of throughput and latency")]
#[path = "tls/servers.rs"]
mod servers;

use std::{hint::black_box, sync::Arc, time::Duration};

use ampoule_admission::{RequestContext, pipeline::Pipeline};
use ampoule_core::RequestedSecret;
use ampoule_load::{Flood, Reuse, saturate};
use ampoule_review as review;
use ampoule_telemetry::metrics::Metrics;
use ampoule_tests::figures::{Cell, Part, Table};
use anyhow::Result;
use tokio::runtime::Runtime;

use self::{
    servers::{SERVERS, Server, Servers},
    used::Used,
};

const ABOUT: &str = "Processor time of the serving process per request, from `/proc/PID/stat`, over TLS on eight kept \
    connections; a second process sends the load. The servers are those of the throughput. The phases are elapsed times in one \
    thread, for the same review with three secrets; each is the fastest of its rounds. The rows of the no-op and of everything \
    show what the same work costs in a server that shares its processors with the load.";

const CONNECTIONS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_ROUND: Duration = Duration::from_secs(300);

/// Sizes of the measurements.
struct Extent {
    rounds: usize,
    requests: u64,
    phase_rounds: usize,
    phase_calls: u32,
}

const FULL: Extent = Extent { rounds: 5, requests: 40_000, phase_rounds: 200, phase_calls: 100 };
const QUICK: Extent = Extent { rounds: 1, requests: 4_000, phase_rounds: 5, phase_calls: 20 };

fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == servers::SERVE) {
        return servers::serve();
    }
    let extent = if std::env::args().any(|argument| argument == "--quick") { QUICK } else { FULL };
    let mut part = Part::new("cpu", "Processor time", ABOUT);
    part.table(over_tls(&Servers::start(None)?, &extent)?);
    part.table(phases(&extent)?);
    part.write()
}

fn over_tls(servers: &Servers, extent: &Extent) -> Result<Table> {
    let columns = ["server", "per request", "in user mode", "in the kernel", "to the no-op"];
    let mut table = Table::new("Processor time of the server per request", &columns);
    let mut sums = SERVERS.map(|_| Used::default());
    for _ in 0..extent.rounds {
        for server in SERVERS {
            sums[server as usize].add(serve(servers, server, extent.requests)?);
        }
    }
    let requests = u32::try_from(extent.requests)? * u32::try_from(extent.rounds)?;
    let noop = sums[Server::Noop as usize].total().as_secs_f64();
    for (server, used) in SERVERS.into_iter().zip(sums) {
        let total = used.total();
        table.row([
            Cell::name(server.name()),
            Cell::Time(total / requests),
            Cell::Time(used.user / requests),
            Cell::Time(used.system / requests),
            Cell::Ratio(total.as_secs_f64() / noop),
        ]);
    }
    Ok(table)
}

/// Sends requests to a server, and returns what they cost the serving process.
fn serve(servers: &Servers, server: Server, requests: u64) -> Result<Used> {
    let flood = Flood { connections: CONNECTIONS, reuse: Reuse::KeepAlive, requests, duration: LONGEST_ROUND };
    let before = Used::by(servers.process())?;
    let report = saturate(servers.target(server), &flood)?;
    let after = Used::by(servers.process())?;
    report.ensure_no_failure()?;
    anyhow::ensure!(report.answered == requests, "{} of {requests} requests were answered", report.answered);
    Ok(Used { user: after.user - before.user, system: after.system - before.system })
}

/// The phases of an admission, without the network, TLS and HTTP.
fn phases(extent: &Extent) -> Result<Table> {
    let runtime = Runtime::new()?;
    let metrics = Metrics::new();
    let (engine, calling) = (support::engine(&metrics), support::calling_engine(&metrics));
    let mutator = support::mutator(support::k8s(&runtime, &engine));
    let calling = support::mutator(support::k8s(&runtime, &calling));
    let pipeline = Pipeline::new(Arc::clone(&engine), support::mutator(support::k8s(&runtime, &engine)), metrics);
    let (body, pod) = (support::review(), support::parsed_pod());
    let admit = || {
        let request = review::parse(&body).expect("a review");
        runtime.block_on(pipeline.admit(request, &RequestContext::untraced(PATIENCE)))
    };
    let reply = admit();
    let mut table = Table::new("Phases of an admission in process, without a log", &["phase", "fastest"]);
    let mut row = |phase: &str, work: &dyn Fn()| {
        table.row([Cell::name(phase), Cell::Time(support::fastest(extent.phase_rounds, extent.phase_calls, work))]);
    };
    row("the no-op: bytes to bytes", &|| {
        let review = serde_json::from_slice(black_box(&body)).expect("a review");
        black_box(serde_json::to_vec(&servers::allow(review)).expect("an answer"));
    });
    row("read the review", &|| _ = black_box(review::parse(black_box(&body))));
    row("read the annotations", &|| _ = black_box(RequestedSecret::from_annotations(black_box(&pod).annotations())));
    for (phase, mutator) in [("mutate the pod", &mutator), ("mutate the pod by a call of the plugin", &calling)] {
        row(phase, &|| {
            let mutation = runtime.block_on(mutator.mutate(&pod, "flytesnacks-development"));
            assert!(black_box(mutation).outcome.is_ok(), "the pod is admitted");
        });
    }
    row("write the answer", &|| _ = black_box(review::respond(black_box(&reply))));
    row("all, with metrics: bytes to bytes", &|| _ = black_box(review::respond(&admit())));
    Ok(table)
}
