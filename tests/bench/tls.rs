//! Throughput and latency over TLS: the whole pipeline compared with two trivial handlers on the
//! same server stack, in one run.
//!
//! `bare` discards the request's bytes, which measures TLS and HTTP alone. `no-op` is an admission
//! handler that allows everything, in the way of kube-rs: it reads a review and returns one. The
//! servers are one process and the load is a second one, on the same processors. Rounds alternate,
//! so that noise affects all servers alike: quote the ratios and differences.
//!
//! The last table is the cost of open consoles, which poll as browsers do; with `--consoles`, it is
//! the only one.

#[allow(dead_code, reason = "shared by benchmarks that each use a part")]
#[path = "support.rs"]
mod support;

#[path = "tls/consoles.rs"]
mod consoles;

#[allow(dead_code, reason = "shared with the benchmark of the processor time")]
#[path = "tls/used.rs"]
mod used;

#[allow(dead_code, reason = "shared with the benchmark of the processor time")]
#[path = "tls/servers.rs"]
mod servers;

use std::{
    thread,
    time::{Duration, Instant},
};

use ampoule_load::{Flood, Plan, Report, Reuse, Target, saturate, steady};
use ampoule_tests::figures::{Cell, Part, Plot, Table};
use anyhow::{Context as _, Result, ensure};

use self::{
    consoles::ApiServer,
    servers::{SERVERS, Server, Servers, TIMED},
    used::{Used, Waited},
};

const CONNECTIONS: [usize; 3] = [1, 8, 64];
/// Number of concurrent connections when each request opens its own.
const AT_ONCE: usize = 8;
/// Number of short rounds that replace one regular round.
const SHORTER: u32 = 16;
/// Intervals of the consoles in which there is no other load.
const ALONE: u32 = 4;
/// Pairs of rounds with and without consoles, for each regular round.
const PAIRS: usize = 4;
/// Quantiles at which the latency curves are drawn.
const QUANTILES: [(&str, f64); 7] = [
    ("50 %", 0.5),
    ("75 %", 0.75),
    ("90 %", 0.9),
    ("95 %", 0.95),
    ("99 %", 0.99),
    ("99.5 %", 0.995),
    ("99.9 %", 0.999),
];
const ABOUT: &str = "`bare` reads a request's bytes and answers. `no-op` is an admission handler written with kube-rs that allows \
    everything. `Ampoule` adds three secrets to a pod of two containers with `k8s`, maintains the metrics of \
    `/metrics`, and logs each secret as JSON to /dev/null. All run on Ampoule's server stack in one process; a \
    second process on the same processors sends the load. Rounds alternate; each figure is the median of its \
    rounds, each latency is over all rounds.";

/// Duration of the measurements.
#[derive(Clone, Copy)]
struct Extent {
    rounds: usize,
    round: Duration,
    warm_up: Duration,
}

/// Latencies at a fixed rate, and what the server waited for a processor meanwhile.
#[derive(Default)]
struct AtRate {
    latencies: Report,
    waited: Waited,
    /// The requests meanwhile, with those of the warm-up.
    sent: f64,
}

/// Answers per second of each server.
type Rates = [f64; SERVERS.len()];

fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == servers::SERVE) {
        return servers::serve();
    }
    let quick = std::env::args().any(|argument| argument == "--quick");
    let extent = match quick {
        true => Extent { rounds: 3, round: Duration::from_millis(400), warm_up: Duration::from_millis(100) },
        false => Extent { rounds: 5, round: Duration::from_secs(2), warm_up: Duration::from_millis(500) },
    };
    let api_server = ApiServer::start()?;
    let servers = Servers::start(Some(&api_server.kubeconfig()))?;
    let mut part = Part::new("tls", "Over TLS", ABOUT);
    if std::env::args().any(|argument| argument == "--consoles") {
        watched(&mut part, &servers, &api_server, extent)?;
        return part.write();
    }
    let kept = throughput(&mut part, &servers, extent)?;
    counting(&mut part, &servers, extent)?;
    latency(&mut part, &servers, extent, &kept)?;
    per_request(&mut part, &servers, extent)?;
    watched(&mut part, &servers, &api_server, extent)?;
    part.write()
}

/// The cost of open consoles, in pairs of rounds with and without them on the same server.
fn watched(part: &mut Part, servers: &Servers, api_server: &ApiServer, extent: Extent) -> Result<()> {
    let server = servers.watched.as_ref().context("the server with a console")?;
    let consoles = api_server.consoles(server.console);
    let flood = Flood { connections: AT_ONCE, reuse: Reuse::KeepAlive, requests: u64::MAX, duration: extent.round };
    let rate = saturate(&server.target, &flood)?.rate() / 2.0;
    let plan =
        Plan { rate, connections: AT_ONCE, reuse: Reuse::KeepAlive, warm_up: extent.warm_up, duration: extent.round };
    let (mut rates, mut latencies) = (Vec::new(), [Report::default(), Report::default()]);
    for i in 0..extent.rounds * PAIRS {
        // The order alternates, so that neither is always first.
        let mut pair = [0.0; 2];
        for open in [i % 2 == 0, i % 2 != 0] {
            consoles.open(open);
            let flooded = saturate(&server.target, &flood)?;
            let steady = steady(&server.target, &plan)?;
            flooded.ensure_no_failure()?;
            steady.ensure_no_failure()?;
            pair[usize::from(open)] = flooded.rate();
            latencies[usize::from(open)].add(&steady);
        }
        rates.push(pair[1] / pair[0]);
    }
    // Their own cost, without other load: other programs affect processor time less than the rest.
    consoles.open(true);
    let (before, used, begun) = (consoles.answers()?, Used::by(servers.process())?, Instant::now());
    thread::sleep(consoles::INTERVAL * ALONE);
    let answers = consoles.answers()?;
    let (used, elapsed) = (Used::by(servers.process())?.total() - used.total(), begun.elapsed());
    consoles.open(false);
    ensure!(answers > before, "no console got an answer");
    let per_answer = used / u32::try_from(answers - before)?;
    let share = used.as_secs_f64() / elapsed.as_secs_f64();
    rates.sort_by(f64::total_cmp);
    let [without, with] = &latencies;
    let p99 = |report: &Report| report.latency(0.99);
    let title = format!(
        "With {} open consoles to without them, each with a request in {:?}, in {} pairs of {:?}",
        consoles::OPEN,
        consoles::INTERVAL,
        rates.len(),
        extent.round
    );
    let columns = [
        "throughput, lower quartile",
        "median",
        "upper quartile",
        "p99 without",
        "p99 with",
        "p99, ratio",
        "answers to consoles",
        "processor time of an answer",
        "of all, to one processor",
    ];
    let mut table = Table::new(title, &columns);
    let ratio = p99(with).as_secs_f64() / p99(without).as_secs_f64();
    let quartiles = [1, 2, 3].map(|quarter| Cell::Ratio(rates[(rates.len() - 1) * quarter / 4]));
    let latencies = [
        Cell::Time(p99(without)),
        Cell::Time(p99(with)),
        Cell::Ratio(ratio),
        Cell::Count(answers),
        Cell::Time(per_answer),
        Cell::Ratio(share),
    ];
    table.row(quartiles.into_iter().chain(latencies));
    part.table(table);
    Ok(())
}

fn throughput(part: &mut Part, servers: &Servers, extent: Extent) -> Result<Vec<Rates>> {
    let ratios = ["Ampoule to no-op", "to bare", "by calls to no-op", "without log to no-op", "to without metrics"];
    let columns = [&["connections"][..], &SERVERS.map(Server::name), &ratios].concat();
    let mut table = Table::new("Maximum requests per second on kept connections", &columns);
    let mut all = Vec::new();
    for connections in CONNECTIONS {
        let rounds = saturated(|server| servers.target(server), extent, connections, Reuse::KeepAlive)?;
        let rates: Rates = SERVERS.map(|server| median(rounds.iter().map(|rates| rates[server as usize])));
        let to = |left: Server, right: Server| {
            Cell::Ratio(median(rounds.iter().map(|rates| rates[left as usize] / rates[right as usize])))
        };
        let counts = [Cell::Count(connections as u64)].into_iter().chain(rates.map(Cell::PerSecond));
        let ratios = [
            (Server::Ampoule, Server::Noop),
            (Server::Ampoule, Server::Bare),
            (Server::Calling, Server::Noop),
            (Server::Quiet, Server::Noop),
            (Server::Ampoule, Server::Uncounted),
        ];
        table.row(counts.chain(ratios.map(|(left, right)| to(left, right))));
        all.push(rates);
    }
    part.table(table);
    part.plot(Plot {
        name: "throughput",
        title: "Requests per second over TLS".to_owned(),
        x: "connections",
        y: "requests per second",
        at: CONNECTIONS.map(|connections| connections.to_string()).into(),
        lines: SERVERS
            .map(|server| (server.name().to_owned(), all.iter().map(|rates| rates[server as usize]).collect()))
            .into(),
    });
    Ok(all)
}

/// Each round measures all servers in turn.
fn saturated<'a>(
    target: impl Fn(Server) -> &'a Target,
    extent: Extent,
    connections: usize,
    reuse: Reuse,
) -> Result<Vec<Rates>> {
    let flood = Flood { connections, reuse, requests: u64::MAX, duration: extent.round };
    let mut rounds = Vec::new();
    for _ in 0..extent.rounds {
        let mut rates = Rates::default();
        for server in SERVERS {
            let report = saturate(target(server), &flood)?;
            report.ensure_no_failure()?;
            rates[server as usize] = report.rate();
        }
        rounds.push(rates);
    }
    Ok(rounds)
}

/// The cost of metrics. It is smaller than the difference between rounds, so there are many short
/// rounds in turn.
fn counting(part: &mut Part, servers: &Servers, extent: Extent) -> Result<()> {
    let (rounds, duration) = (extent.rounds * SHORTER as usize, extent.round / SHORTER);
    let flood = Flood { connections: AT_ONCE, reuse: Reuse::KeepAlive, requests: u64::MAX, duration };
    let mut ratios = Vec::new();
    for i in 0..rounds {
        // The order alternates, so that neither server is always first.
        let order =
            if i % 2 == 0 { [Server::Ampoule, Server::Uncounted] } else { [Server::Uncounted, Server::Ampoule] };
        let mut rates = Rates::default();
        for server in order {
            let report = saturate(servers.target(server), &flood)?;
            report.ensure_no_failure()?;
            rates[server as usize] = report.rate();
        }
        ratios.push(rates[Server::Ampoule as usize] / rates[Server::Uncounted as usize]);
    }
    ratios.sort_by(f64::total_cmp);
    let title = format!("Ampoule's throughput to the same without metrics, in {rounds} pairs of {duration:?}");
    let mut table = Table::new(title, &["lower quartile", "median", "upper quartile"]);
    table.row([1, 2, 3].map(|quarter| Cell::Ratio(ratios[(rounds - 1) * quarter / 4])));
    part.table(table);
    Ok(())
}

/// Latency at half of Ampoule's maximum throughput, the same rate for all servers.
fn latency(part: &mut Part, servers: &Servers, extent: Extent, saturation: &[Rates]) -> Result<()> {
    let mut table = latency_table("Latency on kept connections, at half of Ampoule's maximum throughput");
    for (connections, rates) in CONNECTIONS.into_iter().zip(saturation) {
        let rate = rates[Server::Ampoule as usize] / 2.0;
        let reports = at_rate(servers, extent, connections, Reuse::KeepAlive, rate)?;
        add_latencies(&mut table, connections, rate, &reports);
        if connections == AT_ONCE {
            part.plot(latency_plot(rate, &reports));
        }
    }
    part.table(table);
    Ok(())
}

/// One connection per request, at most [`AT_ONCE`] at a time.
fn per_request(part: &mut Part, servers: &Servers, extent: Extent) -> Result<()> {
    let title = format!("Requests per second with a connection for each request, {AT_ONCE} at a time");
    let columns = [&["handshakes"][..], &SERVERS.map(Server::name), &["Ampoule to no-op"]].concat();
    let mut table = Table::new(title, &columns);
    let (noop, ampoule) = (Server::Noop as usize, Server::Ampoule as usize);
    let mut row = |name: &str, rounds: &[Rates]| {
        let rates: Rates = SERVERS.map(|server| median(rounds.iter().map(|rates| rates[server as usize])));
        let ratio = Cell::Ratio(median(rounds.iter().map(|rates| rates[ampoule] / rates[noop])));
        table.row([Cell::name(name)].into_iter().chain(rates.map(Cell::PerSecond)).chain([ratio]));
        rates
    };
    let target = |server| servers.target(server);
    let rates = row("whole", &saturated(target, extent, AT_ONCE, Reuse::PerRequest)?);
    row("resumed", &saturated(|server| servers.resuming(server), extent, AT_ONCE, Reuse::PerRequest)?);
    part.table(table);
    let mut table =
        latency_table("Latency with a connection for each request, at half of Ampoule's maximum throughput");
    let rate = rates[ampoule] / 2.0;
    let reports = at_rate(servers, extent, AT_ONCE, Reuse::PerRequest, rate)?;
    add_latencies(&mut table, AT_ONCE, rate, &reports);
    part.table(table);
    Ok(())
}

fn at_rate(
    servers: &Servers,
    extent: Extent,
    connections: usize,
    reuse: Reuse,
    rate: f64,
) -> Result<[AtRate; TIMED.len()]> {
    let plan = Plan { rate, connections, reuse, warm_up: extent.warm_up, duration: extent.round };
    let mut all = TIMED.map(|_| AtRate::default());
    for _ in 0..extent.rounds {
        for server in TIMED {
            let before = Waited::by(servers.process())?;
            let report = steady(servers.target(server), &plan)?;
            report.ensure_no_failure()?;
            let measured = &mut all[server as usize];
            measured.latencies.add(&report);
            measured.waited.add(Waited::by(servers.process())?.since(before));
            measured.sent += rate * (plan.warm_up + plan.duration).as_secs_f64();
        }
    }
    Ok(all)
}

fn latency_table(title: &str) -> Table {
    let columns = [
        "connections",
        "per second",
        "server",
        "p50",
        "p99",
        "p99.9",
        "p99 to no-op's",
        "requests",
        "the load's own p99",
        "the server's threads on run queues, per request",
        "involuntary switches per 1,000 requests",
    ];
    Table::new(format!("{title}, requests sent at fixed times"), &columns)
}

fn add_latencies(table: &mut Table, connections: usize, rate: f64, all: &[AtRate]) {
    let noop = all[Server::Noop as usize].latencies.latency(0.99);
    for (server, AtRate { latencies: report, waited, sent }) in TIMED.into_iter().zip(all) {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| report.latency(quantile));
        let own = Duration::from_nanos(report.lateness.value_at_quantile(0.99));
        table.row([
            Cell::Count(connections as u64),
            Cell::PerSecond(rate),
            Cell::name(server.name()),
            Cell::Time(p50),
            Cell::Time(p99),
            Cell::Time(p999),
            Cell::Difference(p99, noop),
            Cell::Count(report.answered),
            Cell::Time(own),
            Cell::Time(waited.run_queue.div_f64(*sent)),
            Cell::name(format!("{:.1}", waited.switches as f64 * 1000.0 / sent)),
        ]);
    }
}

fn latency_plot(rate: f64, all: &[AtRate]) -> Plot {
    let millis = |report: &Report| QUANTILES.map(|(_, quantile)| report.latency(quantile).as_secs_f64() * 1e3).into();
    let lines = TIMED.into_iter().zip(all);
    Plot {
        name: "latency",
        title: format!("Latency over TLS at {rate:.0} requests per second, {AT_ONCE} connections"),
        x: "share of the requests that take no longer",
        y: "milliseconds",
        at: QUANTILES.map(|(name, _)| name.to_owned()).into(),
        lines: lines.map(|(server, all)| (server.name().to_owned(), millis(&all.latencies))).collect(),
    }
}

fn median(rates: impl Iterator<Item = f64>) -> f64 {
    let mut rates: Vec<_> = rates.collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
