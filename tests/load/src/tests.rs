//! The load generator against test servers: one that stalls, one that rejects, one that hangs, and
//! a closed port.
//!
//! Asserted times are lower bounds only, so that a slow machine fails no test.

mod server;

use std::time::Duration;

use rustls_pki_types::ServerName;

use crate::{Failure, Flood, Plan, Report, Reuse, Target, saturate, steady};

use self::server::{Answer, Server};

fn plan(rate: f64, connections: usize, reuse: Reuse) -> Plan {
    Plan { rate, connections, reuse, warm_up: Duration::ZERO, duration: Duration::from_millis(500) }
}

fn flood(connections: usize, reuse: Reuse, requests: u64) -> Flood {
    Flood { connections, reuse, requests, duration: Duration::from_secs(20) }
}

fn failures(report: &Report) -> Vec<(Failure, u64)> {
    report.failed.iter().map(|(failure, count)| (*failure, *count)).collect()
}

/// In a closed loop, two connections would see two slow answers, and p90 would be that of a fast
/// server.
#[test]
fn a_stall_delays_every_request_that_is_due_meanwhile() {
    const STALL: Duration = Duration::from_millis(400);
    let server = Server::start(Answer::StallsAtRequest(20, STALL));
    let report = steady(&server.target(), &plan(200.0, 2, Reuse::KeepAlive)).unwrap();
    report.ensure_no_failure().unwrap();
    assert_eq!((report.sent, report.answered, report.lateness.len()), (100, 100, 100));
    // Due at 100 ms at the earliest, and every 5 ms from then on; each waits at least for the end
    // of the stall.
    let waited = |limit: u64| 100 - report.latencies.count_between(0, limit * 1_000_000);
    for (at_least, expected) in [(100, 58), (200, 38), (300, 18)] {
        let seen = waited(at_least);
        assert!(seen >= expected, "{seen} requests of {expected} waited for {at_least} ms: {:?}", report.latency(0.9));
    }
    assert!(report.latency(0.99) >= Duration::from_millis(350), "p99 is {:?}", report.latency(0.99));
}

#[test]
fn the_warm_up_is_sent_and_not_reported() {
    let server = Server::start(Answer::Good);
    let plan = Plan { warm_up: Duration::from_millis(250), ..plan(200.0, 4, Reuse::KeepAlive) };
    let report = steady(&server.target(), &plan).unwrap();
    assert_eq!((report.sent, report.answered, server.requests()), (100, 100, 150));
    assert!(report.elapsed >= Duration::from_millis(495), "the last is due after 495 ms: {:?}", report.elapsed);
}

#[test]
fn each_failure_is_counted_by_its_reason() {
    let cases = [
        (Answer::Status(503), Failure::Status(503), "status 503"),
        (Answer::Bad, Failure::Answer, "an answer that is not accepted"),
        (Answer::Breaks, Failure::Exchange, "the connection ended before the answer did"),
        (Answer::Never, Failure::Timeout, "no answer in time"),
    ];
    for (answer, failure, reason) in cases {
        let server = Server::start(answer);
        let whole = server.target();
        // Answers get enough time for a slow machine.
        let timeout = if failure == Failure::Timeout { Duration::from_millis(100) } else { whole.timeout };
        let target = Target { timeout, ..whole };
        let report = steady(&target, &plan(40.0, 4, Reuse::KeepAlive)).unwrap();
        assert_eq!((report.sent, report.answered, report.latencies.len()), (20, 0, 0));
        assert_eq!(failures(&report), [(failure, 20)]);
        let error = report.ensure_no_failure().unwrap_err().to_string();
        assert_eq!(error, format!("of 20 requests 0 were answered; 20: {reason}"));
    }
}

#[test]
fn a_connection_that_cannot_be_opened_is_a_failure() {
    let server = Server::start(Answer::Good);
    let (good, other) = (server.target(), ServerName::try_from("another.test").unwrap());
    let closed = { std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    for target in [Target { address: closed, ..good.clone() }, Target { server_name: other, ..good }] {
        let report = steady(&target, &plan(40.0, 2, Reuse::KeepAlive)).unwrap();
        assert_eq!(failures(&report), [(Failure::Connect, 20)]);
    }
    assert_eq!(server.requests(), 0);
}

#[test]
fn connections_are_reused_as_configured() {
    let cases = [(Answer::Good, Reuse::KeepAlive, 1..=3), (Answer::Good, Reuse::PerRequest, 103..=103)];
    // A connection that the server closes with its answer is replaced, and this is not a failure.
    let closes = (Answer::Closes, Reuse::KeepAlive, 103..=103);
    for (answer, reuse, connections) in cases.into_iter().chain([closes]) {
        let server = Server::start(answer);
        let report = saturate(&server.target(), &flood(3, reuse, 100)).unwrap();
        report.ensure_no_failure().unwrap();
        // And one on each connection before the measurement.
        assert_eq!((report.sent, report.answered, server.requests()), (100, 100, 103));
        assert!(connections.contains(&server.connections()), "{reuse:?}: {} connections", server.connections());
    }
}

#[test]
fn a_flood_ends_after_its_time() {
    let server = Server::start(Answer::Good);
    let flood = Flood { duration: Duration::from_millis(100), ..flood(2, Reuse::KeepAlive, u64::MAX) };
    let report = saturate(&server.target(), &flood).unwrap();
    report.ensure_no_failure().unwrap();
    assert!(report.answered > 0 && report.elapsed >= Duration::from_millis(100), "{report:?}");
}

#[test]
fn a_server_that_hangs_ends_no_later_for_more_requests() {
    let server = Server::start(Answer::Never);
    let target = Target { timeout: Duration::from_millis(200), ..server.target() };
    // One connection: the requests would wait for 20 s in sequence.
    let report = steady(&target, &plan(200.0, 1, Reuse::KeepAlive)).unwrap();
    assert_eq!(failures(&report), [(Failure::Timeout, 100)]);
    assert!(report.elapsed < Duration::from_secs(10), "{:?}", report.elapsed);
}

#[test]
fn reports_of_rounds_are_added() {
    let mut first = Report { elapsed: Duration::from_secs(1), ..Report::default() };
    for millis in 1..=1000 {
        first.record(Ok(()), Duration::from_millis(millis));
    }
    let mut second = Report { elapsed: Duration::from_secs(3), ..Report::default() };
    second.record(Err(Failure::Timeout), Duration::from_secs(30));
    first.add(&second);
    assert_eq!((first.sent, first.answered, first.rate()), (1001, 1000, 250.0));
    for (quantile, millis) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
        let seen = first.latency(quantile).as_secs_f64() * 1000.0;
        assert!((seen - millis).abs() <= millis / 1000.0, "the quantile {quantile} is {seen} ms");
    }
}

#[test]
fn an_invalid_load_is_refused() {
    let server = Server::start(Answer::Good);
    let good = plan(10.0, 1, Reuse::KeepAlive);
    let cases = [
        (Plan { rate: 0.0, ..good }, "a load needs a rate"),
        (Plan { rate: f64::INFINITY, ..good }, "a load needs a rate"),
        (Plan { connections: 0, ..good }, "a load has 1 to 512 connections"),
        (Plan { rate: 1e9, ..good }, "a load has at most 10000000 requests"),
    ];
    for (plan, expected) in cases {
        assert_eq!(steady(&server.target(), &plan).unwrap_err().to_string(), expected);
    }
    let none = flood(0, Reuse::KeepAlive, 1);
    assert_eq!(saturate(&server.target(), &none).unwrap_err().to_string(), "a load has 1 to 512 connections");
}
