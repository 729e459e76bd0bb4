//! Whole life cycles of a connection, with short limits.
//!
//! The client is hyper's; client and server share a stream in memory.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::{http::StatusCode, routing::get};
use http_body_util::BodyExt as _;
use hyper::{
    Response,
    client::conn::{http1, http2},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, copy, split},
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::listener::{ConnectionLimits, DrainTrigger, table::ConnectionTable};

const AGE: Duration = Duration::from_millis(500);
const SHORT: Duration = Duration::from_secs(1);
const TEST_FAREWELL: Duration = Duration::from_secs(3);
const TEST_END: Duration = Duration::from_secs(6);
/// Generous limit for a machine under load.
const SOON: Duration = Duration::from_secs(20);

/// A served connection, before its client sends anything.
struct ServedConnection {
    client: DuplexStream,
    ended: JoinHandle<()>,
    trigger: DrainTrigger,
    /// Lets `/wait` respond.
    open: Arc<Notify>,
}

impl ServedConnection {
    fn new(protocol: Protocol, old: Option<Duration>, idle: Duration) -> Self {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let (trigger, drain) = DrainTrigger::new();
        let old_at = old.map(|age| Instant::now() + age);
        let life = ConnectionLife { drain, old_at, idle, farewell: TEST_FAREWELL, longest_end: TEST_END };
        let peer = Peer::new("127.0.0.1:1".parse().unwrap());
        let open = Arc::new(Notify::new());
        let opened = Arc::clone(&open);
        let wait = async move || {
            opened.notified().await;
            "done"
        };
        let router = Router::new()
            .route("/", get(async || "hello"))
            .route("/wait", get(wait))
            .route("/close", get(async || ([(header::CONNECTION, "close")], "bye")));
        let slot = ConnectionTable::new(ConnectionLimits::webhook(1)).take_slot(peer.address).unwrap();
        let ended = tokio::spawn(async move { serve(server, protocol, peer, router, life, &slot).await });
        Self { client, ended, trigger, open }
    }
}

fn request(path: &str) -> Request<Body> {
    Request::get(format!("http://localhost{path}")).header("host", "localhost").body(Body::empty()).unwrap()
}

/// The body, and whether the response ends the connection.
async fn text(response: hyper::Result<Response<Incoming>>) -> (String, bool) {
    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let closes = response.headers().get(header::CONNECTION).is_some_and(|value| value == "close");
    (String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap(), closes)
}

async fn http1(client: DuplexStream) -> http1::SendRequest<Body> {
    let (sender, connection) = http1::handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn http2(client: DuplexStream) -> http2::SendRequest<Body> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_its_time_and_no_longer() {
    let [one, two] = [Protocol::Http1, Protocol::Http2].map(|protocol| ServedConnection::new(protocol, None, SHORT));
    let begun = Instant::now();
    let (mut http1, mut http2) = (http1(one.client).await, http2(two.client).await);
    assert_eq!(text(http1.send_request(request("/")).await).await.0, "hello");
    assert_eq!(text(http2.send_request(request("/")).await).await.0, "hello");
    for ended in [one.ended, two.ended] {
        timeout(SOON, ended).await.unwrap().unwrap();
        assert!(begun.elapsed() >= SHORT, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_connection_without_requests_ends_even_if_it_is_old_first() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for old in [None, Some(AGE)] {
            let ServedConnection { client: _client, ended, trigger: _trigger, .. } =
                ServedConnection::new(protocol, old, SHORT);
            timeout(SOON, ended).await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn an_old_connection_ends_even_if_its_client_never_finishes() {
    let ServedConnection { client, ended, trigger: _trigger, open: _never } =
        ServedConnection::new(Protocol::Http2, Some(AGE), Duration::from_secs(3600));
    let begun = Instant::now();
    let mut http2 = http2(client).await;
    let answer = tokio::spawn(async move { http2.send_request(request("/wait")).await.map(drop) });
    timeout(SOON, ended).await.unwrap().unwrap();
    assert!(begun.elapsed() >= TEST_END, "{:?}", begun.elapsed());
    assert!(answer.await.unwrap().is_err());
}

#[tokio::test]
async fn an_endless_request_head_ends_the_connection() {
    let ServedConnection { mut client, ended, trigger: _trigger, .. } =
        ServedConnection::new(Protocol::Http1, None, SHORT);
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let trickle = async {
        while client.write_all(b"x: y\r\n").await.is_ok() {
            sleep(SHORT / 10).await;
        }
    };
    timeout(SOON, trickle).await.unwrap();
    ended.await.unwrap();
}

#[tokio::test]
async fn an_old_http1_connection_ends_with_its_next_response() {
    let ServedConnection { client, ended, trigger: _trigger, .. } =
        ServedConnection::new(Protocol::Http1, Some(AGE), SOON);
    let mut client = http1(client).await;
    assert_eq!(text(client.send_request(request("/")).await).await, ("hello".to_owned(), false));
    sleep(2 * AGE).await;
    assert!(!ended.is_finished(), "a request may be in progress");
    assert_eq!(text(client.send_request(request("/")).await).await, ("hello".to_owned(), true));
    timeout(SOON, ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_old_http2_connection_answers_open_requests_and_takes_no_more() {
    let ServedConnection { client, ended, open, trigger: _trigger } =
        ServedConnection::new(Protocol::Http2, Some(AGE), SOON);
    let mut client = http2(client).await;
    let waiting = tokio::spawn(client.send_request(request("/wait")));
    sleep(2 * AGE).await;
    assert!(!ended.is_finished(), "a request is open");
    let error = client.send_request(request("/")).await.unwrap_err();
    assert!(error.is_canceled(), "the client may send it elsewhere: {error:?}");
    open.notify_one();
    assert_eq!(text(waiting.await.unwrap()).await.0, "done");
    timeout(SOON, ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_leaving_port_ends_connections_with_their_next_response() {
    let ServedConnection { client, ended, trigger, .. } = ServedConnection::new(Protocol::Http1, None, SOON);
    let mut client = http1(client).await;
    assert_eq!(text(client.send_request(request("/")).await).await, ("hello".to_owned(), false));
    trigger.leave();
    sleep(AGE).await;
    assert!(!ended.is_finished(), "a request may be in progress");
    assert_eq!(text(client.send_request(request("/")).await).await, ("hello".to_owned(), true));
    timeout(SOON, ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_arrived_before_the_drain_is_answered() {
    let ServedConnection { mut client, ended, trigger, .. } = ServedConnection::new(Protocol::Http1, None, SOON);
    // The server has not read it when the drain starts.
    client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    trigger.start();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"), "{answer}");
    ended.await.unwrap();
}

#[tokio::test]
async fn a_response_can_end_the_connection_after_the_open_requests() {
    let ServedConnection { client, ended, open, trigger: _trigger } =
        ServedConnection::new(Protocol::Http2, None, SOON);
    let mut client = http2(client).await;
    let waiting = tokio::spawn(client.send_request(request("/wait")));
    tokio::task::yield_now().await;
    assert_eq!(text(client.send_request(request("/close")).await).await, ("bye".to_owned(), false));
    open.notify_one();
    assert_eq!(text(waiting.await.unwrap()).await.0, "done");
    timeout(SOON, ended).await.unwrap().unwrap();
    let ServedConnection { client, ended, trigger: _trigger, .. } = ServedConnection::new(Protocol::Http1, None, SOON);
    let mut client = http1(client).await;
    assert_eq!(text(client.send_request(request("/close")).await).await, ("bye".to_owned(), true));
    timeout(SOON, ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_that_begin_together_do_not_end_together() {
    let (_trigger, drain) = DrainTrigger::new();
    let age = Duration::from_secs(100);
    let begun = Instant::now();
    let ends = || ConnectionLife::new(drain.clone(), Some(age), SOON).old_at.unwrap() - begun;
    let ends: Vec<_> = (0..100).map(|_| ends()).collect();
    let around = age.mul_f64(0.9)..=age.mul_f64(1.1) + SHORT;
    assert!(ends.iter().all(|end| around.contains(end)), "{ends:?}");
    let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
    assert!(*last - *first > age / 10, "{ends:?}");
}

#[tokio::test]
async fn a_request_that_crosses_the_graceful_shutdown_is_answered() {
    let ServedConnection { client: server, ended, open, trigger: _trigger } =
        ServedConnection::new(Protocol::Http2, None, SHORT);
    let (client, network) = tokio::io::duplex(64 * 1024);
    let (mut from_client, mut to_client) = split(network);
    let (mut from_server, mut to_server) = split(server);
    let slow = Arc::new(AtomicBool::new(false));
    let is_slow = Arc::clone(&slow);
    tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
    tokio::spawn(async move {
        let mut bytes = [0; 1024];
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            while is_slow.load(Ordering::Acquire) {
                sleep(SHORT / 10).await;
            }
            to_client.write_all(&bytes[..count]).await.unwrap();
        }
    });
    let mut client = http2(client).await;
    assert_eq!(text(client.send_request(request("/")).await).await.0, "hello");
    slow.store(true, Ordering::Release);
    sleep(2 * SHORT).await;
    let answer = tokio::spawn(client.send_request(request("/wait")));
    sleep(TEST_FAREWELL + SHORT).await;
    assert!(!ended.is_finished(), "a request is open");
    open.notify_one();
    slow.store(false, Ordering::Release);
    assert_eq!(text(answer.await.unwrap()).await.0, "done");
    timeout(SOON, ended).await.unwrap().unwrap();
}
