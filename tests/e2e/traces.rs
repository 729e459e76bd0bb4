//! Traces that a collector receives from the real process; an unreachable or slow collector does
//! not affect admissions.
//!
//! Spans are compared as a whole, except for identifiers and times, which are compared with each
//! other.

use std::{
    fs,
    time::{Duration, Instant},
};

use ampoule_core::MountRequirement::Any;
use ampoule_tests::{Ampoule, Answer, Collector, Response, Review, Span, asking, eventually};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::{ANY, Guests, K8S, config, request};

/// Exports spans frequently, so that no test waits.
const SOON: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "100");
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// This configuration, with traces to this endpoint.
fn traced(endpoint: &str, more: &str, config: &str) -> String {
    format!("tracing: {{ endpoint: \"{endpoint}\"{more} }}\n{config}")
}

/// Sends a review with the caller's span.
async fn review(ampoule: &Ampoule, review: &Review, traceparent: &str) -> Result<Answer> {
    let headers = [("content-type", "application/json"), ("traceparent", traceparent)];
    ampoule.connect().await?.send("POST", "/mutate--v1-pod?timeout=10s", &headers, review.bytes()).await
}

/// Waits until the process has logged this many lines with a message.
async fn logged(ampoule: &Ampoule, message: &str, count: usize) -> Result<Vec<Value>> {
    eventually(message, Duration::from_secs(20), async || {
        let lines = lines(&ampoule.log()?, message);
        ensure!(lines.len() >= count, "{} of {count} lines", lines.len());
        Ok(lines)
    })
    .await
}

fn lines(log: &str, message: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

const DOWN: &str = "the collector does not accept traces; spans are dropped";
const UP: &str = "the collector accepts traces again";

/// A span's fields, without those that differ from run to run.
fn fields(span: &Span) -> Vec<(&str, &str)> {
    let is_stable = |key: &str| !key.ends_with("_micros") && !key.ends_with("_bytes") && key != "ampoule.digest";
    span.attributes
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .filter(|(key, _)| is_stable(key))
        .collect()
}

#[tokio::test]
async fn an_admission_is_a_trace_below_its_caller() -> Result<()> {
    let collector = Collector::start().await?;
    let guests = Guests::write(&["echo"])?;
    let injectors = [&guests.injector("echo", "{}", "{ deadlineMillis: 5000 }"), K8S].concat();
    let config = traced(&collector.endpoint(), "", &config("flyte-v1", &injectors));
    let environment = [SOON, ("OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=tests")];
    let ampoule = Ampoule::start_with(&config, &environment).await?;
    // The first injector does not have the first secret, so its instance is dropped. Its call for
    // the second secret starts a new instance.
    let not_found = request("not-found", "key", Any, "");
    let pod = asking("task", [not_found, ANY.to_owned()]);
    let asked = Review::of(&pod, "flytesnacks");
    let answer = review(&ampoule, &asked, &format!("00-{TRACE}-{CALLER}-01")).await?;
    assert!(Response::read(&answer)?.allowed, "{}", answer.text());

    let spans = collector.wait_for("admission", 1).await?;
    let [admission, parts @ ..] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&*admission.name, &*admission.trace, &*admission.parent), ("admission", TRACE, CALLER));
    assert!(admission.server && !admission.error);
    assert_eq!(
        fields(admission),
        [
            ("ampoule.code", "200"),
            ("ampoule.dry_run", "false"),
            ("ampoule.outcome", "mutated"),
            ("ampoule.requests", "2"),
            ("ampoule.uid", asked.uid()),
            ("k8s.namespace.name", "flytesnacks"),
            ("k8s.pod.name", "task"),
        ]
    );
    assert_eq!(admission.resource["service.name"], "ampoule");
    assert_eq!(admission.resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(admission.resource["k8s.cluster.name"], "tests");

    let names: Vec<_> = parts.iter().map(|span| span.name.as_str()).collect();
    let (first, last) = (names.first().copied(), names.last().copied());
    assert_eq!((first, last), (Some("parse"), Some("patch")), "{names:?}");
    let calls: Vec<_> = parts.iter().filter(|span| span.name == "plugin call").collect();
    let outcomes: Vec<_> = calls.iter().map(|call| fields(call)).collect();
    let outcome = |plugin, outcome| vec![("ampoule.outcome", outcome), ("ampoule.plugin", plugin)];
    assert_eq!(outcomes, [outcome("echo", "not-found"), outcome("k8s", "injected"), outcome("echo", "injected")]);
    for part in parts {
        assert_eq!((&*part.trace, &*part.parent), (TRACE, &*admission.id), "{part:?}");
        let within = admission.start <= part.start && part.start <= part.end && part.end <= admission.end;
        assert!(within && !part.server && !part.error, "{part:?} in {admission:?}");
    }
    for pair in parts.windows(2) {
        assert!(pair[0].end <= pair[1].start, "the calls are sequential: {pair:?}");
    }
    for call in calls {
        let micros = |part: &str| call.get(&format!("ampoule.{part}_micros")).parse::<u64>().unwrap_or_default();
        let parts = ["queue", "instantiate", "guest", "host"].map(micros);
        let whole = (call.end - call.start) / 1000;
        assert!(parts.iter().sum::<u64>() <= whole + 1, "{parts:?} of {whole}");
        assert!(parts[1] > 0 && parts[2] > 0, "a fresh instance: {:?}", call.attributes);
        assert_eq!(call.get("ampoule.digest").len(), 12, "{call:?}");
    }
    ampoule.stop().await?.ensure_clean()
}

#[tokio::test]
async fn an_unsampled_caller_is_not_traced_and_pending_spans_are_sent_at_the_end() -> Result<()> {
    let collector = Collector::start().await?;
    let ampoule = Ampoule::start(&traced(&collector.endpoint(), "", &config("flyte-v1", K8S))).await?;
    let asked = Review::of(&asking("task", [ANY.to_owned()]), "flytesnacks");
    review(&ampoule, &asked, &format!("00-{TRACE}-{CALLER}-00")).await?;
    let refused = Review::of(&asking("refused", ["!".to_owned()]), "flytesnacks");
    review(&ampoule, &refused, "no traceparent").await?;
    let wrong = [("content-type", "application/json")];
    let answer = ampoule.connect().await?.send("POST", "/mutate--v1-pod", &wrong, "no review").await?;
    assert_eq!(answer.status, 400);
    ampoule.stop().await?.ensure_clean()?;

    let spans = collector.spans()?;
    assert!(spans.iter().all(|span| span.trace != TRACE), "{spans:?}");
    let admissions: Vec<_> = spans.iter().filter(|span| span.name == "admission").collect();
    let [refused, unreadable] = admissions[..] else { panic!("{admissions:?}") };
    assert_eq!((refused.get("ampoule.outcome"), refused.get("ampoule.code")), ("refused", "400"));
    assert_eq!(fields(unreadable), [("ampoule.code", "400"), ("ampoule.rejection", "not-a-review")]);
    assert!(refused.parent.is_empty() && refused.trace != unreadable.trace);
    Ok(())
}

#[tokio::test]
async fn an_unreachable_collector_is_logged_once_and_affects_no_admission() -> Result<()> {
    // Bound and not listening: no other test can listen on the port, and connections are refused.
    let closed = tokio::net::TcpSocket::new_v4()?;
    closed.bind(([127, 0, 0, 1], 0).into())?;
    let port = closed.local_addr()?.port();
    let endpoint = format!("http://127.0.0.1:{port}/v1/traces");
    let ampoule = Ampoule::start_with(&traced(&endpoint, "", &config("flyte-v1", K8S)), &[SOON]).await?;
    let asked = Review::of(&asking("task", [ANY.to_owned()]), "flytesnacks");
    let mut connection = ampoule.connect().await?;
    // Each in its own batch.
    for _ in 0..8 {
        assert!(Ampoule::review(&mut connection, &asked).await?.allowed);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let [line] = &logged(&ampoule, DOWN, 1).await?[..] else { panic!("{}", ampoule.log().unwrap()) };
    assert_eq!((&line["level"], &line["endpoint"]), (&"WARN".into(), &endpoint.as_str().into()));
    assert_eq!(line["error"], "the collector is unreachable: Connection refused (os error 111)");
    assert_eq!(lines(&ampoule.log()?, UP).len(), 0);

    drop(closed);
    let collector = Collector::listen(([127, 0, 0, 1], port).into()).await?;
    assert!(Ampoule::review(&mut connection, &asked).await?.allowed);
    collector.wait_for("admission", 1).await?;
    logged(&ampoule, UP, 1).await?;
    let exit = ampoule.stop().await?;
    exit.ensure_clean()?;
    let fields: Vec<_> =
        exit.log.lines().filter(|line| line.contains("collector") || line.contains("opentelemetry")).collect();
    assert_eq!(fields.len(), 2, "once each: {fields:#?}");
    Ok(())
}

#[tokio::test]
async fn a_silent_collector_delays_the_end_by_the_grace_period_at_most() -> Result<()> {
    // Connections wait in its backlog without end.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}/v1/traces", silent.local_addr()?);
    let quick = config("flyte-v1", K8S).replace("shutdownGraceSeconds: 10", "shutdownGraceSeconds: 1");
    let ampoule = Ampoule::start_with(&traced(&endpoint, "", &quick), &[SOON]).await?;
    let asked = Review::of(&asking("task", [ANY.to_owned()]), "flytesnacks");
    let mut connection = ampoule.connect().await?;
    for _ in 0..1000 {
        assert!(Ampoule::review(&mut connection, &asked).await?.allowed);
    }
    let start = Instant::now();
    ampoule.stop().await?.ensure_clean()?;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn tokens_and_certificates_are_read_from_files() -> Result<()> {
    let collector = Collector::over_tls().await?;
    let folder = tempfile::tempdir()?;
    let [ca, headers] = ["ca.crt", "headers"].map(|name| folder.path().join(name));
    fs::write(&ca, collector.certificate())?;
    fs::write(&headers, "Authorization: Bearer first-token\nX-Tenant: team\n")?;
    let more = format!(", caFile: \"{}\", headersFile: \"{}\"", ca.display(), headers.display());
    let config = traced(&collector.endpoint(), &more, &config("flyte-v1", K8S));
    let ampoule = Ampoule::start_with(&config, &[SOON]).await?;
    let asked = Review::of(&asking("task", [ANY.to_owned()]), "flytesnacks");
    let mut connection = ampoule.connect().await?;
    for (token, count) in [("first-token", 1), ("second-token", 2)] {
        fs::write(&headers, format!("Authorization: Bearer {token}\nX-Tenant: team\n"))?;
        assert!(Ampoule::review(&mut connection, &asked).await?.allowed);
        collector.wait_for("admission", count).await?;
        let sent = collector.headers().pop().context("no batch")?;
        assert_eq!(sent["authorization"], format!("Bearer {token}"));
        assert_eq!(sent["x-tenant"], "team");
    }
    let exit = ampoule.stop().await?;
    exit.ensure_clean()?;
    assert!(!exit.log.contains("-token"), "{}", exit.log);

    // The collector is not trusted without the file.
    let config = config_without_ca(&collector);
    let ampoule = Ampoule::start_with(&config, &[SOON]).await?;
    let mut connection = ampoule.connect().await?;
    assert!(Ampoule::review(&mut connection, &asked).await?.allowed);
    let line = logged(&ampoule, DOWN, 1).await?.remove(0);
    assert_eq!(line["error"], "the collector is unreachable: invalid peer certificate: UnknownIssuer");
    ampoule.stop().await?.ensure_clean()
}

fn config_without_ca(collector: &Collector) -> String {
    traced(&collector.endpoint(), "", &config("flyte-v1", K8S))
}
