//! Both ports for clients other than the API server: requests without a review, over real TLS, and
//! the pages of the admin port.
//!
//! After each of these requests the same process still serves.

use std::time::Duration;

use ampoule_core::MountRequirement::EnvVar;
use ampoule_engine::digest;
use ampoule_tests::{Ampoule, Review, asking, pod};
use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Guests, K8S, config, request, v1};

const PATH: &str = "/mutate--v1-pod";
const JSON: [Header; 1] = [("content-type", "application/json")];

/// Longer than any of the server's own limits for a silent connection.
const END: Duration = Duration::from_secs(30);

type Header = (&'static str, &'static str);
/// A name, headers, a body, and the expected status and text.
type Case = (&'static str, &'static [Header], Vec<u8>, u16, &'static str);

/// Verifies that a review of a good pod gets its patch.
async fn ensure_serving(ampoule: &Ampoule) -> Result<()> {
    let review = Review::of(&asking("task", [request("group", "key", EnvVar, "")]), "default");
    let response = ampoule.review_once(&review).await?;
    ensure!(response.allowed && !response.patch.0.is_empty(), "no longer served: {response:?}");
    Ok(())
}

#[tokio::test]
async fn an_invalid_body_gets_a_status_and_a_reason() -> Result<()> {
    let ampoule = Ampoule::start(&v1()).await?;
    let good = Review::of(&pod("task"), "default").bytes();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes();
    let cases: [Case; 9] = [
        ("empty", &JSON, vec![], 400, "the body is empty; an AdmissionReview is expected\n"),
        (
            "wrong content type",
            &[("content-type", "text/plain")],
            good.clone(),
            400,
            "the content type is \"text/plain\"; application/json is expected\n",
        ),
        ("no content type", &[], good.clone(), 400, "the content type is not given; application/json is expected\n"),
        ("8 MiB", &JSON, vec![b' '; 8 << 20], 413, "the body is larger than 7 MiB\n"),
        (
            "truncated",
            &JSON,
            good[..40].to_vec(),
            400,
            "the body is not readable JSON: EOF while parsing a string at line 1 column 40\n",
        ),
        (
            "deeply nested",
            &JSON,
            deep,
            400,
            "the body is not readable JSON: recursion limit exceeded at line 1 column 128\n",
        ),
        (
            "no review",
            &JSON,
            br#"{"kind":"Pod","apiVersion":"v1"}"#.to_vec(),
            400,
            "the body is not an AdmissionReview of admission.k8s.io/v1 or admission.k8s.io/v1beta1\n",
        ),
        (
            "without a request",
            &JSON,
            br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#.to_vec(),
            400,
            "request must be an object\n",
        ),
        (
            "not UTF-8",
            &JSON,
            vec![b'"', 0xff, b'"'],
            400,
            "the body is not readable JSON: invalid unicode code point at line 1 column 2\n",
        ),
    ];
    for (name, headers, body, status, text) in cases {
        let answer = ampoule.connect().await?.send("POST", PATH, headers, body).await.context(name)?;
        assert_eq!((answer.status, answer.text().as_str()), (status, text), "{name}");
        ensure_serving(&ampoule).await.context(name)?;
    }
    Ok(())
}

#[tokio::test]
async fn an_object_other_than_a_pod_is_refused_within_the_review() -> Result<()> {
    let ampoule = Ampoule::start(&v1()).await?;
    let mut connection = ampoule.connect().await?;
    let mut check = async |change: &dyn Fn(&mut Value), message: &str| {
        let mut object = pod("task");
        change(&mut object);
        let response = Ampoule::review(&mut connection, &Review::as_is(&object, "default")).await?;
        assert_eq!((response.allowed, response.code, response.message.as_str()), (false, 400, message));
        anyhow::Ok(())
    };
    check(
        &|pod| pod["kind"] = json!("Deployment"),
        "expected kind Pod and apiVersion v1, got kind Deployment and apiVersion v1",
    )
    .await?;
    check(&|pod| pod["spec"] = json!("x"), "spec must be an object").await?;
    check(&|pod| pod["spec"]["containers"] = json!({}), "spec.containers must be a list").await?;
    check(&|pod| pod["metadata"]["annotations"] = json!([]), "metadata.annotations must be an object").await?;
    ensure_serving(&ampoule).await
}

#[tokio::test]
async fn another_method_or_path_gets_an_error() -> Result<()> {
    let ampoule = Ampoule::start(&v1()).await?;
    let mut connection = ampoule.connect().await?;
    let answer = connection.get(PATH).await?;
    assert_eq!((answer.status, answer.text().as_str()), (405, "method not allowed; use POST\n"));
    for path in ["/", "/mutate", "/metrics", "/mutate--v1-pod/"] {
        let answer = connection.post(path, "{}").await?;
        let text = "not found; send reviews to /mutate--v1-pod\n";
        assert_eq!((answer.status, answer.text().as_str()), (404, text), "{path}");
    }
    ensure_serving(&ampoule).await
}

/// Over HTTP/2, an answer before the end of a request can reset the stream, and the answer is lost.
#[tokio::test]
async fn over_http2_every_request_without_a_review_gets_its_answer() -> Result<()> {
    let ampoule = Ampoule::start(&v1()).await?;
    let stream = ampoule.trust().clone().with_http2().stream(ampoule.webhook()).await?;
    let (mut requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let cases = [
        ("POST", PATH, "text/plain", 300 << 10, 400),
        ("POST", "/mutate", "application/json", 300 << 10, 404),
        ("PUT", PATH, "application/json", 300 << 10, 405),
        ("POST", PATH, "application/json", 8 << 20, 413),
    ];
    for round in 0..16 {
        for (method, path, content_type, length, status) in cases {
            let url = format!("https://{}{path}", ampoule.webhook());
            let request = Request::builder().method(method).uri(url).header("content-type", content_type);
            let request = request.body(Full::new(Bytes::from(vec![b' '; length])))?;
            let what = || format!("{method} {path} {content_type} {length}, round {round}");
            requests.ready().await.with_context(what)?;
            let response = timeout(END, requests.send_request(request)).await?.with_context(what)?;
            ensure!(response.status() == status, "{}: {}", what(), response.status());
            let body = timeout(END, response.into_body().collect()).await?.with_context(what)?.to_bytes();
            ensure!(body.ends_with(b"\n"), "{}: {body:?}", what());
        }
    }
    ensure_serving(&ampoule).await
}

/// Sends bytes over TLS and reads until the server closes the connection.
async fn exchange(ampoule: &Ampoule, bytes: &[u8]) -> Result<String> {
    let mut stream = ampoule.trust().stream(ampoule.webhook()).await?;
    // A server may close the connection before it has read everything, and without a TLS close
    // notification: only the end matters.
    let _ = timeout(END, stream.write_all(bytes)).await.context("not read")?;
    let _ = timeout(END, stream.shutdown()).await.context("no end")?;
    let mut answer = Vec::new();
    let _ = timeout(END, stream.read_to_end(&mut answer)).await.context("no end")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn invalid_bytes_close_only_their_connection() -> Result<()> {
    let ampoule = Ampoule::start(&v1()).await?;
    let head =
        format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n");
    // When the server closes before everything is sent, its answer may be lost: no status is
    // expected there.
    for (name, bytes, status) in [
        ("a body cut short", format!("{head}{{\"kind\":"), None),
        ("no HTTP", "hello\r\n\r\n".to_owned(), Some("HTTP/1.1 400")),
        ("an endless header", format!("POST {PATH} HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)), None),
        (
            "a negative length",
            format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n"),
            Some("HTTP/1.1 400"),
        ),
        ("nothing", String::new(), None),
    ] {
        let answer = exchange(&ampoule, bytes.as_bytes()).await.context(name)?;
        match status {
            Some(status) => assert!(answer.starts_with(status), "{name}: {answer}"),
            None => assert!(!answer.starts_with("HTTP/1.1 2"), "{name}: {answer}"),
        }
        ensure_serving(&ampoule).await.context(name)?;
    }
    let mut no_tls = TcpStream::connect(ampoule.webhook()).await?;
    no_tls.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await?;
    let mut answer = Vec::new();
    let _ = timeout(END, no_tls.read_to_end(&mut answer)).await.context("plain HTTP was not closed")?;
    assert!(!answer.starts_with(b"HTTP"), "only TLS is served");
    ensure_serving(&ampoule).await
}

#[tokio::test]
async fn the_admin_port_reports_liveness_readiness_and_metrics() -> Result<()> {
    let ampoule = Ampoule::start(&v1()).await?;
    for (path, text) in [
        ("/livez", "ok\n"),
        ("/readyz", "ok\n"),
        (
            "/readyz?verbose",
            "[+]certificate ok\n[+]configuration ok\n[+]shutdown ok\n\
             [+]plugin/k8s loaded: builtin:k8s, generation 1, version 0.1.0, sha256:DIGEST\nreadyz check passed\n",
        ),
    ] {
        let answer = ampoule.admin(path).await?;
        let plain =
            answer.text().replace(&digest(ampoule_plugin_bundle::component("k8s").context("built in")?), "DIGEST");
        assert_eq!((answer.status, plain.as_str()), (200, text), "{path}");
    }
    ensure_serving(&ampoule).await?;
    ampoule.connect().await?.send("POST", PATH, &JSON, "").await?;
    let answer = ampoule.admin("/metrics").await?;
    assert_eq!(answer.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.text();
    for line in [
        "ampoule_admissions_total{outcome=\"mutated\"} 1\n",
        "ampoule_rejected_requests_total{reason=\"not-a-review\"} 1\n",
        "ampoule_plugin_call_duration_seconds_count{plugin=\"k8s\",outcome=\"injected\"} 1\n",
        "ampoule_admission_duration_seconds_count{outcome=\"mutated\"} 1\n",
        "ampoule_plugin_info{plugin=\"k8s\",version=\"",
        "ampoule_open_connections{port=\"webhook\"}",
        "ampoule_connections_total{port=\"webhook\"}",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_cannot_be_loaded_ends_the_process_with_an_error() -> Result<()> {
    let guests = Guests::write(&["echo"])?;
    let wrong = guests.injector("echo", "{ varable: X }", "{}");
    let error = Ampoule::start(&config("flyte-v1", &[K8S, &wrong].concat())).await.err().context("it started")?;
    let error = format!("{error:#}");
    for part in ["exit status: 1", "echo", "unknown field `varable`"] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    Ok(())
}
