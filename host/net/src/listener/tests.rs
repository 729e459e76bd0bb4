//! Served ports: both versions of HTTP over TLS, the limit on connections, and the drain.
//!
//! Clients trust only the generated CA, so each handshake also verifies the certificate's names and
//! chain.

use axum::{body::Body, http::StatusCode, routing::get};
use http_body_util::BodyExt as _;
use hyper::{
    Request, Response, Version,
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
    task::JoinHandle,
    time::Instant,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::tls::{self, ClientCas, ServingCert};

mod crowds;

/// The names of the certificate.
const NAMES: [&str; 2] = ["localhost", "ampoule.ampoule.svc"];

/// A served port.
struct ServedPort {
    address: SocketAddr,
    ca_pem: String,
    metrics: ConnectionMetrics,
    trigger: DrainTrigger,
    ended: JoinHandle<()>,
}

/// Holds requests to `/wait` open until the test releases them.
#[derive(Clone, Default)]
struct Gate {
    entered: Arc<Notify>,
    open: Arc<Notify>,
}

/// A new certificate for the names that the tests use, and the PEM that clients must trust.
fn test_certificate() -> (CertifiedKey, String) {
    let issued = rcgen::generate_simple_self_signed(NAMES.map(str::to_owned)).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let chain = vec![issued.cert.der().clone()];
    (CertifiedKey::from_der(chain, key, &tls::provider()).unwrap(), issued.cert.pem())
}

impl ServedPort {
    async fn with(max_connections: usize, grace: Duration, gate: &Gate) -> Self {
        let (key, ca_pem) = test_certificate();
        let cert = Arc::new(ServingCert::default());
        cert.install(key);
        let metrics = ConnectionMetrics::default();
        // All clients of a test have one address.
        let limits = ConnectionLimits { per_peer: usize::MAX, ..ConnectionLimits::webhook(max_connections) };
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), limits, metrics.clone()).await.unwrap();
        let listener = listener.with_tls(TlsAcceptor::from(Arc::new(tls::server_config(cert))));
        let address = listener.local_addr().unwrap();
        let (trigger, drain) = DrainTrigger::new();
        let ended = tokio::spawn(listener.run(gate.router(), drain, grace));
        Self { address, ca_pem, metrics, trigger, ended }
    }

    fn trusting(&self, alpn: &[u8]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).unwrap()).unwrap();
        let config =
            ClientConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        Arc::new(config)
    }

    async fn connect(&self, config: Arc<ClientConfig>, name: &'static str) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        TlsConnector::from(config).connect(name.try_into().unwrap(), stream).await.unwrap()
    }

    async fn http1(&self) -> http1::SendRequest<Body> {
        let stream = TokioIo::new(self.connect(self.trusting(b"http/1.1"), "localhost").await);
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn http2(&self) -> http2::SendRequest<Body> {
        let stream = TokioIo::new(self.connect(self.trusting(b"h2"), "ampoule.ampoule.svc").await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

impl Gate {
    fn router(&self) -> Router {
        let gate = self.clone();
        let wait = move || {
            let gate = gate.clone();
            async move {
                gate.entered.notify_one();
                gate.open.notified().await;
                "done"
            }
        };
        Router::new().route("/", get(async || "hello")).route("/wait", get(wait))
    }
}

fn request(path: &str) -> Request<Body> {
    Request::get(format!("https://localhost{path}")).header("host", "localhost").body(Body::empty()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    assert_eq!(response.status(), StatusCode::OK);
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn serves_both_versions_of_http_over_tls() {
    let served = ServedPort::with(8, Duration::from_secs(5), &Gate::default()).await;
    let response = served.http1().await.send_request(request("/")).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
    assert_eq!(text(response).await, "hello");
    let response = served.http2().await.send_request(request("/")).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(text(response).await, "hello");
    assert_eq!(served.metrics.accepted(), 2);
}

#[tokio::test]
async fn a_returning_client_resumes_its_tls_session() {
    let served = ServedPort::with(8, Duration::from_secs(5), &Gate::default()).await;
    let config = served.trusting(b"http/1.1");
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let stream = served.connect(Arc::clone(&config), "localhost").await;
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        assert_eq!(text(sender.send_request(request("/")).await.unwrap()).await, "hello");
    }
}

#[tokio::test]
async fn a_new_certificate_serves_the_next_handshake() {
    let cert = Arc::new(ServingCert::default());
    let (address, limits) = ("127.0.0.1:0".parse().unwrap(), ConnectionLimits::webhook(8));
    let listener = Listener::bind(address, limits, ConnectionMetrics::default()).await.unwrap();
    let listener = listener.with_tls(TlsAcceptor::from(Arc::new(tls::server_config(Arc::clone(&cert)))));
    let address = listener.local_addr().unwrap();
    let (trigger, drain) = DrainTrigger::new();
    let ended = tokio::spawn(listener.run(Gate::default().router(), drain, Duration::from_secs(5)));
    let mut served =
        ServedPort { address, ca_pem: String::new(), metrics: ConnectionMetrics::default(), trigger, ended };
    for _ in 0..2 {
        let (key, ca_pem) = test_certificate();
        cert.install(key);
        served.ca_pem = ca_pem;
        assert_eq!(text(served.http1().await.send_request(request("/")).await.unwrap()).await, "hello");
    }
}

#[tokio::test]
async fn draining_answers_open_requests_and_accepts_no_connection() {
    let gate = Gate::default();
    let served = ServedPort::with(8, Duration::from_secs(30), &gate).await;
    let (mut one, mut two, mut idle) = (served.http1().await, served.http2().await, served.http1().await);
    assert_eq!(text(idle.send_request(request("/")).await.unwrap()).await, "hello");
    let one = tokio::spawn(async move { text(one.send_request(request("/wait")).await.unwrap()).await });
    gate.entered.notified().await;
    let two = tokio::spawn(async move { text(two.send_request(request("/wait")).await.unwrap()).await });
    gate.entered.notified().await;
    served.trigger.start();
    while TcpStream::connect(served.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!served.ended.is_finished());
    gate.open.notify_one();
    gate.open.notify_one();
    assert_eq!(one.await.unwrap(), "done");
    gate.open.notify_one();
    assert_eq!(two.await.unwrap(), "done");
    served.ended.await.unwrap();
}

#[tokio::test]
async fn requests_open_after_the_grace_period_are_closed() {
    let gate = Gate::default();
    let served = ServedPort::with(8, Duration::from_millis(200), &gate).await;
    let mut client = served.http2().await;
    let answer = tokio::spawn(async move { client.send_request(request("/wait")).await.map(drop) });
    gate.entered.notified().await;
    let start = Instant::now();
    served.trigger.start();
    served.ended.await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert!(answer.await.unwrap().is_err());
}

#[tokio::test]
async fn a_connection_above_the_limit_waits_for_another_to_end() {
    let served = ServedPort::with(1, Duration::from_secs(5), &Gate::default()).await;
    let mut first = served.http1().await;
    // Completes only after the eviction of the first connection, which is idle.
    let mut second = served.http1().await;
    assert!(first.send_request(request("/")).await.is_err(), "both connections had a permit");
    assert_eq!(text(second.send_request(request("/")).await.unwrap()).await, "hello");
    drop(second);
    assert_eq!(text(served.http1().await.send_request(request("/")).await.unwrap()).await, "hello");
}

#[tokio::test]
async fn a_client_without_a_handshake_is_evicted() {
    let served = ServedPort::with(1, Duration::from_secs(5), &Gate::default()).await;
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    let begun = Instant::now();
    let mut next = served.http1().await;
    assert!(begun.elapsed() < HANDSHAKE, "the silent client kept its permit until the handshake limit");
    assert_eq!(text(next.send_request(request("/")).await.unwrap()).await, "hello");
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0, "it was closed");
}

#[tokio::test]
async fn an_idle_connection_is_evicted_and_a_busy_one_is_not() {
    let gate = Gate::default();
    let served = ServedPort::with(2, Duration::from_secs(5), &gate).await;
    let (mut idle, mut busy) = (served.http1().await, served.http1().await);
    assert_eq!(text(idle.send_request(request("/")).await.unwrap()).await, "hello");
    let waiting = tokio::spawn(async move { text(busy.send_request(request("/wait")).await.unwrap()).await });
    gate.entered.notified().await;
    let begun = Instant::now();
    let mut third = served.http1().await;
    assert!(begun.elapsed() < Duration::from_secs(60), "the idle connection was not evicted");
    assert!(idle.send_request(request("/")).await.is_err());
    assert_eq!(text(third.send_request(request("/")).await.unwrap()).await, "hello");
    gate.open.notify_one();
    assert_eq!(waiting.await.unwrap(), "done");
}

#[tokio::test]
async fn a_connection_without_tls_is_closed() {
    let served = ServedPort::with(8, Duration::from_secs(5), &Gate::default()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // An alert or a reset: both end the connection without an HTTP response.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");
}

#[tokio::test]
async fn a_client_without_the_required_certificate_is_counted() {
    let (key, ca_pem) = test_certificate();
    let cert = Arc::new(ServingCert::default());
    cert.install(key);
    let (rejected, missing) = (Counter::default(), Counter::default());
    let cas = Arc::new(ClientCas::new(rejected.clone()));
    cas.install(test_certificate().1.as_bytes()).unwrap();
    let (limits, metrics) = (ConnectionLimits::webhook(8), ConnectionMetrics::default());
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), limits, metrics.clone()).await.unwrap();
    let listener = listener.with_tls(TlsAcceptor::from(Arc::new(tls::server_config_for_clients(cert, cas))));
    let listener = listener.counting_missing_certificates(missing.clone());
    let address = listener.local_addr().unwrap();
    let (trigger, drain) = DrainTrigger::new();
    let ended = tokio::spawn(listener.run(Gate::default().router(), drain, Duration::from_secs(5)));
    let served = ServedPort { address, ca_pem, metrics, trigger, ended };
    let mut stream = served.connect(served.trusting(b"http/1.1"), "localhost").await;
    // With TLS 1.3, the client learns of the failure after its own handshake.
    assert!(stream.read(&mut [0]).await.is_err(), "the handshake must fail");
    assert_eq!((missing.get(), rejected.get()), (1, 0));
    // A failure of another kind is not counted.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert_eq!((missing.get(), rejected.get()), (1, 0));
}
