//! An HTTPS server with a given behaviour: [`Server`], on a thread of its own, which counts its
//! connections and requests.
//!
//! It ends when the value is dropped.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::CONNECTION,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    time::{Instant, sleep, sleep_until},
};
use tokio_rustls::TlsAcceptor;

use crate::Target;

const NAME: &str = "load.test";

/// The behaviour of the server.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Good,
    Bad,
    Status(u16),
    /// Answers, and closes the connection.
    Closes,
    /// Answers nothing for this time, from the arrival of this request on.
    StallsAtRequest(usize, Duration),
    /// Closes the connection without an answer.
    Breaks,
    Never,
}

pub(super) struct Server {
    state: Arc<State>,
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    _runtime: Runtime,
}

struct State {
    answer: Answer,
    connections: AtomicUsize,
    requests: AtomicUsize,
    stall_ends: Mutex<Option<Instant>>,
}

// === impl Server ===

impl Server {
    pub(super) fn start(answer: Answer) -> Self {
        let signed = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let provider = Arc::new(ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let server = server.unwrap().with_no_client_auth();
        let server = server.with_single_cert(vec![signed.cert.der().clone()], key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(signed.cert.der().clone()).unwrap();
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(tls.with_root_certificates(roots).with_no_client_auth());
        let state = Arc::new(State {
            answer,
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            stall_ends: Mutex::new(None),
        });
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(accept(listener, TlsAcceptor::from(Arc::new(server)), Arc::clone(&state)));
        Self { state, address, tls, _runtime: runtime }
    }

    pub(super) fn target(&self) -> Target {
        Target {
            address: self.address,
            tls: Arc::clone(&self.tls),
            server_name: ServerName::try_from(NAME).unwrap(),
            path: "/path?query".to_owned(),
            content_type: "text/plain",
            body: Bytes::from_static(b"question"),
            accepts: |body| body == b"answer",
            timeout: Duration::from_secs(20),
        }
    }

    /// Number of connections with at least one request.
    pub(super) fn connections(&self) -> usize {
        self.state.connections.load(Relaxed)
    }

    pub(super) fn requests(&self) -> usize {
        self.state.requests.load(Relaxed)
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, state: Arc<State>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(stream, tls.clone(), Arc::clone(&state)));
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, state: Arc<State>) {
    // A client that does not trust the certificate ends the handshake.
    let Ok(stream) = tls.accept(stream).await else { return };
    state.connections.fetch_add(1, Relaxed);
    let service = service_fn(|request| state.answer(request));
    // The answer may be an error by design, and the client may have left.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

// === impl State ===

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let number = self.requests.fetch_add(1, Relaxed);
        assert_eq!(request.uri(), "/path?query");
        assert_eq!(request.headers()["content-type"], "text/plain");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "question");
        let good = || Response::builder();
        let response = match self.answer {
            Answer::Good => good(),
            Answer::Bad => return Ok(Response::new(Full::from("another"))),
            Answer::Status(code) => good().status(code),
            Answer::Closes => good().header(CONNECTION, "close"),
            Answer::Breaks => return Err(std::io::Error::other("broken")),
            Answer::Never => {
                sleep(Duration::from_secs(60)).await;
                good()
            }
            Answer::StallsAtRequest(first, stall) => {
                self.stall(number, first, stall).await;
                good()
            }
        };
        Ok(response.body(Full::from("answer")).unwrap())
    }

    async fn stall(&self, number: usize, first: usize, stall: Duration) {
        let ends = {
            let mut ends = self.stall_ends.lock().unwrap();
            if number == first {
                *ends = Some(Instant::now() + stall);
            }
            *ends
        };
        if let Some(ends) = ends {
            sleep_until(ends).await;
        }
    }
}
