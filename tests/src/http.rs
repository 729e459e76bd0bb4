//! HTTP/1.1 as the API server speaks it to a webhook: one kept connection, over TLS with a given
//! root, or plain for the admin port; and the bare TLS stream, for invalid requests.
//!
//! Every step has a limit, so a server that hangs fails a test and does not block it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Limit for a connection or one answer. The longest timeout of a webhook in Kubernetes is 30 s.
const LIMIT: Duration = Duration::from_secs(30);

/// The root certificate that a client trusts, and the name that the server must have.
#[derive(Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
    /// `None` for the address itself.
    name: Option<ServerName<'static>>,
}

/// A kept connection. After an answer with `connection: close` the next request uses a new one, as
/// with the API server.
pub struct Connection {
    requests: SendRequest<Full<Bytes>>,
    address: SocketAddr,
    /// `None` without TLS.
    trust: Option<Trust>,
    ended: bool,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `content-type`; empty if it is missing.
    pub content_type: String,
    /// Whether the connection ends with this answer.
    pub closes: bool,
    /// `location`; empty if it is missing.
    pub location: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

// === impl Trust ===

impl Trust {
    /// Trusts certificates signed by these roots, one or several in PEM form.
    ///
    /// # Errors
    ///
    /// If one is not a certificate, or the text has none.
    pub fn root(pem: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(root.context("the root is not a certificate in PEM form")?)?;
        }
        ensure!(!roots.is_empty(), "the text has no certificate in PEM form");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        Ok(Self { config, name: None })
    }

    /// Trusts the same roots for a server with this name, as the API server calls a Service.
    ///
    /// # Errors
    ///
    /// If the name is not a valid server name.
    pub fn named(self, name: &str) -> Result<Self> {
        Ok(Self { name: Some(ServerName::try_from(name.to_owned())?), ..self })
    }

    /// Presents a client certificate with its key, both in PEM form.
    ///
    /// # Errors
    ///
    /// If they are no certificate and its key.
    pub fn identified(self, certificate: &str, key: &str) -> Result<Self> {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        let identity = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())?;
        let mut config = ClientConfig::clone(&self.config);
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(identity));
        Ok(Self { config: Arc::new(config), ..self })
    }

    /// The client configuration, without a session cache: an API server resumes no sessions,
    /// because Go's client has no cache by default.
    #[must_use]
    pub fn client_config(&self) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }

    /// The client configuration with a session cache.
    #[must_use]
    pub fn resuming_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The same trust for a client that speaks HTTP/2.
    #[must_use]
    pub fn with_http2(self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { config: Arc::new(config), ..self }
    }

    /// A TLS stream to the address.
    ///
    /// # Errors
    ///
    /// If the port is closed, or the certificate is not trusted.
    pub async fn stream(&self, address: SocketAddr) -> Result<TlsStream<TcpStream>> {
        let name = self.name.clone().unwrap_or_else(|| ServerName::IpAddress(address.ip().into()));
        let connect = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
        };
        timeout(LIMIT, connect).await?.with_context(|| format!("TLS to {address}"))
    }
}

// === impl Connection ===

impl Connection {
    /// Connects over TLS.
    ///
    /// # Errors
    ///
    /// As [`Trust::stream`].
    pub async fn tls(address: SocketAddr, trust: &Trust) -> Result<Self> {
        let requests = requests(TokioIo::new(trust.stream(address).await?)).await?;
        Ok(Self { requests, address, trust: Some(trust.clone()), ended: false })
    }

    /// Connects without TLS.
    ///
    /// # Errors
    ///
    /// If the port is closed.
    pub async fn plain(address: SocketAddr) -> Result<Self> {
        let stream = timeout(LIMIT, TcpStream::connect(address)).await?;
        let stream = stream.with_context(|| format!("connection to {address}"))?;
        Ok(Self { requests: requests(TokioIo::new(stream)).await?, address, trust: None, ended: false })
    }

    /// Gets a path.
    ///
    /// # Errors
    ///
    /// If no complete answer arrives.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send("GET", path, &[], Bytes::new()).await
    }

    /// Posts a JSON body.
    ///
    /// # Errors
    ///
    /// If no complete answer arrives.
    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Result<Answer> {
        self.send("POST", path, &[("content-type", "application/json")], body).await
    }

    /// Sends a request with these headers.
    ///
    /// # Errors
    ///
    /// If no complete answer arrives.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        if self.ended {
            *self = match &self.trust {
                Some(trust) => Self::tls(self.address, trust).await?,
                None => Self::plain(self.address).await?,
            };
        }
        let mut request = Request::builder().method(method).uri(path).header("host", self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into()))?;
        let exchange = async {
            self.requests.ready().await?;
            let (head, body) = self.requests.send_request(request).await?.into_parts();
            let header = |name| {
                let value = head.headers.get(name).map(|value| value.to_str()).transpose()?;
                anyhow::Ok(value.unwrap_or_default().to_owned())
            };
            let body = body.collect().await?.to_bytes().to_vec();
            let (content_type, location) = (header("content-type")?, header("location")?);
            let closes = header("connection")? == "close";
            anyhow::Ok(Answer {
                status: head.status.as_u16(),
                content_type,
                closes,
                location,
                headers: head.headers,
                body,
            })
        };
        let answer = timeout(LIMIT, exchange).await?.with_context(|| format!("{method} {path}"))?;
        self.ended = answer.closes;
        Ok(answer)
    }
}

async fn requests(io: impl Read + Write + Unpin + Send + 'static) -> Result<SendRequest<Full<Bytes>>> {
    let (requests, connection) = timeout(LIMIT, handshake(io)).await??;
    // The task ends with the last sender, or with the server; the request reports an error.
    tokio::spawn(connection);
    Ok(requests)
}

// === impl Answer ===

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
