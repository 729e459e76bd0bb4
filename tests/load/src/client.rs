//! One connection at a time: [`Client`] opens it when there is a request to send, keeps it if
//! allowed, and reports why an exchange failed.
//!
//! A connection that the server closes between two exchanges is not a failure; one that ends within
//! an exchange is.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::{CONNECTION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

/// The address, the request and the expected answer of a load.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server's address.
    pub address: SocketAddr,
    /// The TLS configuration. Its session cache determines whether sessions are resumed.
    pub tls: Arc<ClientConfig>,
    /// The name that the server's certificate must have.
    pub server_name: ServerName<'static>,
    /// The path to post to, with its query.
    pub path: String,
    /// The content type of the body.
    pub content_type: &'static str,
    /// The body of every request.
    pub body: Bytes,
    /// Whether the body of an answer with status 200 is valid.
    pub accepts: fn(&[u8]) -> bool,
    /// Limit for one exchange, including the handshake of its connection.
    pub timeout: Duration,
}

/// Number of exchanges per connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// As many as the server allows.
    KeepAlive,
    /// One: the latency includes the handshakes of TCP and TLS.
    PerRequest,
}

/// The reason for a failed exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Failure {
    /// The connection or TLS failed.
    Connect,
    /// The connection ended before the answer did.
    Exchange,
    /// A status other than 200.
    Status(u16),
    /// The answer was rejected by [`Target::accepts`].
    Answer,
    /// No complete answer within [`Target::timeout`].
    Timeout,
}

/// Sends requests in sequence.
pub(crate) struct Client {
    target: Arc<Target>,
    reuse: Reuse,
    request: Request<Full<Bytes>>,
    kept: Option<SendRequest<Full<Bytes>>>,
}

// === impl Client ===

impl Client {
    pub(crate) fn new(target: Arc<Target>, reuse: Reuse) -> Result<Self> {
        let Target { path, content_type, body, address, .. } = &*target;
        let request = Request::post(path).header(HOST, address.to_string()).header(CONTENT_TYPE, *content_type);
        let request = match reuse {
            Reuse::KeepAlive => request,
            Reuse::PerRequest => request.header(CONNECTION, "close"),
        };
        let request = request.body(Full::new(body.clone())).context("the target's path is not valid")?;
        Ok(Self { target, reuse, request, kept: None })
    }

    /// One exchange, to the last byte of the answer; it fails at `end`.
    pub(crate) async fn exchange(&mut self, end: Instant) -> Result<(), Failure> {
        let end = end.min(Instant::now() + self.target.timeout);
        timeout_at(end, self.exchange_at_leisure()).await.unwrap_or(Err(Failure::Timeout))
    }

    async fn exchange_at_leisure(&mut self) -> Result<(), Failure> {
        let mut connection = self.connection().await?;
        let answer = connection.send_request(self.request.clone()).await.map_err(|_| Failure::Exchange)?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|_| Failure::Exchange)?.to_bytes();
        if self.reuse == Reuse::KeepAlive {
            self.kept = Some(connection);
        }
        match status {
            StatusCode::OK if (self.target.accepts)(&body) => Ok(()),
            StatusCode::OK => Err(Failure::Answer),
            other => Err(Failure::Status(other.as_u16())),
        }
    }

    async fn connection(&mut self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        if let Some(mut kept) = self.kept.take()
            && kept.ready().await.is_ok()
        {
            return Ok(kept);
        }
        self.connect().await.map_err(|_| Failure::Connect)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let Target { address, tls, server_name, .. } = &*self.target;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(server_name.clone(), stream).await?;
        let (requests, connection) = handshake(TokioIo::new(stream)).await?;
        // The task ends with the sender, or with the server; the exchange reports an error.
        tokio::spawn(connection);
        Ok(requests)
    }
}

// === impl Failure ===

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("no connection"),
            Self::Exchange => f.write_str("the connection ended before the answer did"),
            Self::Status(code) => write!(f, "status {code}"),
            Self::Answer => f.write_str("an answer that is not accepted"),
            Self::Timeout => f.write_str("no answer in time"),
        }
    }
}
