//! Clients that do not finish their bodies, at a real port: another client is served meanwhile.
//!
//! The clients have different addresses of the loopback network, over plain HTTP.

use std::{net::SocketAddr, time::Duration};

use ampoule_net::listener::{ConnectionLimits, ConnectionMetrics, DrainTrigger, Listener};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use super::*;

/// Generous limit for a machine under load.
const SOON: Duration = Duration::from_secs(20);

/// The webhook at a port, and its memory.
struct ServedWebhook {
    address: SocketAddr,
    memory: Arc<MemoryPool>,
    _trigger: DrainTrigger,
}

impl ServedWebhook {
    async fn with(max_connections: usize, memory: usize) -> Self {
        let memory = MemoryPool::new(memory);
        let router = router_of(4, OnFailure::Deny, &Metrics::new(), Arc::clone(&memory));
        let limits = ConnectionLimits::webhook(max_connections);
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(any, limits, ConnectionMetrics::default()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (trigger, drain) = DrainTrigger::new();
        tokio::spawn(listener.run(router, drain, Duration::from_secs(1)));
        Self { address, memory, _trigger: trigger }
    }

    /// Sends a request of `127.0.0.{from}` that announces `length` bytes, and these bytes of it.
    async fn send(&self, from: u8, length: usize, body: &[u8]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, from], 0))).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        let head = format!(
            "POST {WEBHOOK_PATH}?timeout=30s HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        );
        // The server may have closed the connection.
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(body).await;
        stream
    }

    /// The status of a usual pod's review.
    async fn review(&self, from: u8) -> String {
        let request = json!({ "uid": "7f", "operation": "CREATE", "object": pod(&json!({})) });
        let review = json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request });
        let body = review.to_string();
        status(&mut self.send(from, body.len(), body.as_bytes()).await).await
    }
}

/// The first line of the answer.
async fn status(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n") {
        let byte = timeout(SOON, stream.read_u8()).await.expect("an answer in time");
        let Ok(byte) = byte else { return "closed".to_owned() };
        answer.push(byte);
    }
    String::from_utf8(answer).unwrap().trim_end().to_owned()
}

#[tokio::test]
async fn a_client_is_served_beside_connections_that_each_send_one_byte_of_a_body() {
    let webhook = ServedWebhook::with(256, 32 << 20).await;
    let mut slow = Vec::new();
    for _ in 0..256 {
        slow.push(webhook.send(2, 100, b"{").await);
    }
    assert_eq!(webhook.review(1).await, "HTTP/1.1 200 OK");
    // None of them has the 30 s that it announces.
    assert_eq!(status(&mut slow[0]).await, "HTTP/1.1 408 Request Timeout");
    let mut rest = Vec::new();
    timeout(SOON, slow[0].read_to_end(&mut rest)).await.expect("the connection is closed").unwrap();
    assert!(String::from_utf8(rest).unwrap().contains("connection: close"));
    assert_eq!(webhook.review(2).await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn every_client_is_served_beside_ten_unfinished_bodies() {
    let webhook = ServedWebhook::with(64, 32 << 20).await;
    let part = vec![b' '; 6 << 20];
    let mut unfinished = Vec::new();
    for _ in 0..10 {
        unfinished.push(webhook.send(2, 7 << 20, &part).await);
        assert!(webhook.memory.used() <= 16 << 20);
        for from in [1, 2] {
            assert_eq!(webhook.review(from).await, "HTTP/1.1 200 OK");
        }
    }
    while webhook.memory.used() > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    for stream in &mut unfinished {
        let status = status(stream).await;
        let expected = ["HTTP/1.1 408 Request Timeout", "HTTP/1.1 503 Service Unavailable", "closed"];
        assert!(expected.contains(&status.as_str()), "{status}");
    }
}
