//! A login server for tests: it records every request, and answers it with a function. It speaks
//! TLS, with a certificate that the surroundings of the test trust.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use ampoule_core::NoCluster;
use ampoule_net::outbound::Roots;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    serve::Listener,
};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::Surroundings;

/// A request that a server received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

type Answer = Arc<dyn Fn(&Received) -> (u16, String) + Send + Sync>;

/// A login server.
pub(crate) struct LoginServer {
    pub(crate) url: String,
    pub(crate) surroundings: Surroundings,
    received: Arc<Mutex<Vec<Received>>>,
}

#[derive(Clone)]
struct Shared {
    answer: Answer,
    received: Arc<Mutex<Vec<Received>>>,
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

// === impl Received ===

impl Received {
    /// The method and the URL, without the host.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.uri.path_and_query().unwrap())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The fields of a form, in order.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        assert_eq!(self.header("content-type"), Some("application/x-www-form-urlencoded"));
        form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }
}

// === impl LoginServer ===

impl LoginServer {
    pub(crate) async fn start(answer: impl Fn(&Received) -> (u16, String) + Send + Sync + 'static) -> Self {
        let key = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], key.signing_key.serialize_der().try_into().unwrap())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let received = Arc::<Mutex<Vec<_>>>::default();
        let shared = Shared { answer: Arc::new(answer), received: Arc::clone(&received) };
        let router = Router::new().fallback(respond).with_state(shared);
        let listener = Tls { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut roots = Roots::empty();
        roots.add(key.cert.der().clone()).unwrap();
        let surroundings = Surroundings::of_process(Arc::new(NoCluster), roots).with_variables(|_| None);
        Self { url, surroundings, received }
    }

    /// The surroundings with these variables and no others.
    pub(crate) fn surroundings(&self, variables: &[(&str, &str)]) -> Surroundings {
        let variables: HashMap<_, _> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.surroundings.clone().with_variables(move |name| variables.get(name).cloned())
    }

    /// Takes the requests since the last call.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.received.lock().unwrap())
    }
}

async fn respond(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let received = Received { method, uri, headers, body: String::from_utf8(body.to_vec()).unwrap() };
    shared.received.lock().unwrap().push(received.clone());
    let (status, body) = (shared.answer)(&received);
    (StatusCode::from_u16(status).unwrap(), body)
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
