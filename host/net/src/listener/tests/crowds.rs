//! Ports under many connections of one client: other clients are served.
//!
//! The clients have different addresses of the loopback network, over plain HTTP.

use std::net::Ipv4Addr;

use axum::extract::Extension;
use tokio::{net::TcpSocket, time::timeout};

use super::*;

/// Generous limit for a machine under load. Without a slot, a client waits for longer.
const SOON: Duration = Duration::from_secs(20);

/// A served port without TLS.
struct PlainPort {
    address: SocketAddr,
    metrics: ConnectionMetrics,
    _trigger: DrainTrigger,
}

impl PlainPort {
    async fn with(limits: ConnectionLimits) -> Self {
        let metrics = ConnectionMetrics::default();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), limits, metrics.clone()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (trigger, drain) = DrainTrigger::new();
        let body = async |body: axum::body::Bytes| format!("{}", body.len());
        let peer = async |Extension(peer): Extension<Peer>| format!("{} {:?}", peer.address, peer.certificate);
        let router = Router::new().route("/body", axum::routing::post(body)).route("/peer", get(peer));
        tokio::spawn(listener.run(router, drain, Duration::from_secs(5)));
        Self { address, metrics, _trigger: trigger }
    }

    /// Connects from `127.0.0.{from}`.
    async fn connect(&self, from: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, from), 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn probe(&self, from: u8) -> String {
        let exchange = async {
            let mut stream = self.connect(from).await;
            stream.write_all(b"GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer.rsplit("\r\n").next().unwrap().to_owned()
        };
        timeout(SOON, exchange).await.expect("the probe is answered")
    }
}

/// Returns once the server has closed the connection.
async fn closed(mut stream: TcpStream) {
    let read = timeout(SOON, stream.read(&mut [0])).await.expect("the connection is closed");
    assert_eq!(read.unwrap_or(0), 0);
}

#[tokio::test]
async fn unfinished_bodies_of_one_client_leave_half_of_the_port() {
    let port = PlainPort::with(ConnectionLimits::webhook(128)).await;
    let mut streams = Vec::new();
    for number in 1..=128 {
        let mut stream = port.connect(2).await;
        // A connection above the limit may already be closed.
        let _ = stream.write_all(b"POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx").await;
        streams.push(stream);
        while number <= 64 && port.metrics.accepted() < number {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(port.probe(1).await, "127.0.0.1 None");
    assert_eq!(port.metrics.accepted(), 65);
    for stream in streams.drain(64..) {
        closed(stream).await;
    }
    streams[0].write_all(b"12345678").await.unwrap();
    let mut answer = [0; 15];
    streams[0].read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn probes_are_answered_beside_400_idle_connections() {
    let port = PlainPort::with(ConnectionLimits::admin()).await;
    let mut streams = Vec::new();
    for _ in 0..400 {
        streams.push(port.connect(2).await);
    }
    for from in [1, 2] {
        assert_eq!(port.probe(from).await, format!("127.0.0.{from} None"));
    }
}

#[tokio::test]
async fn a_connection_to_the_admin_port_is_closed_after_its_idle_time() {
    let limits = ConnectionLimits { idle: Duration::from_millis(200), ..ConnectionLimits::admin() };
    let port = PlainPort::with(limits).await;
    let mut partial = port.connect(1).await;
    partial.write_all(b"GET /peer HTTP/1.1\r\nhost:").await.unwrap();
    closed(port.connect(1).await).await;
    let mut answer = Vec::new();
    timeout(SOON, partial.read_to_end(&mut answer)).await.expect("the connection is closed").unwrap();
}
