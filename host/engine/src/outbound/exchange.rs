//! One request and its answer: [`Exchange`]. It looks a name up once, judges every address that comes of it, and connects to one
//! that may be; there is no second look-up that could say something else.
//!
//! Errors are the interface's own, and the log has the host's name and the kind of the failure, never a path, a header or a body.

use std::{
    error::Error as _,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ::http::{Request, Response, Uri, uri::PathAndQuery};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tracing::warn;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use ampoule_core::prohibited_address;

use super::{Destination, HttpGrant, OutboundBudget, budget::CountedBody};
use crate::{
    context::PluginContext,
    grants::Grant,
    threads::{AbortOnDrop, spawn_on},
};

/// Bytes of a response's head, and of its body that wait to be read.
const BUFFER: usize = 64 << 10;

/// What keeps a connection going while a body is read; it has nothing to say.
pub(super) type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// A request that was judged, on its way.
pub(super) struct Exchange {
    pub(super) plugin: Arc<PluginContext>,
    pub(super) destination: Destination,
    pub(super) grant: HttpGrant,
    pub(super) budget: Arc<OutboundBudget>,
    pub(super) options: RequestOptions,
}

// === impl Exchange ===

impl Exchange {
    /// Sends it, and waits for the head of the answer.
    pub(super) async fn run(self, request: Request<WasiBody>) -> Result<(Response<WasiBody>, Io), Error> {
        if let Some(answers) = self.plugin.shared.http.clone() {
            return self.answer(&*answers, request).await;
        }
        let RequestOptions { connect_timeout, first_byte_timeout, between_bytes_timeout: _ } = self.options;
        let (mut sender, connection) = within(connect_timeout, self.connect(), Error::ConnectionTimeout).await?;
        let budget = Arc::clone(&self.budget);
        let request = origin_form(request)?.map(|body| CountedBody::request(body, budget));
        let answer = async { sender.send_request(request).await.map_err(|error| request_error(&error)) };
        let response = within(first_byte_timeout, answer, Error::ConnectionReadTimeout).await?;
        let response = response.map(|body| {
            let body = body.map_err(|error| response_error(&error)).boxed_unsync();
            CountedBody::response(body, self.budget).boxed_unsync()
        });
        let io: Io = Box::new(async move {
            // It is over however it ended: what was wrong, the body says.
            let _ = connection.await;
            Ok(())
        });
        Ok((response, io))
    }

    /// A connection, and the task that moves its bytes.
    async fn connect(&self) -> Result<(SendRequest<CountedBody<WasiBody>>, AbortOnDrop<()>), Error> {
        let addresses = self.addresses().await?;
        let stream = TlsConnector::from(Arc::clone(&self.grant.tls));
        let stream = stream.connect(self.destination.host().clone(), self.reach(&addresses).await?);
        let stream: TlsStream<TcpStream> = stream.await.map_err(|error| {
            self.tell(&error);
            tls_error(&error)
        })?;
        let mut builder = Builder::new();
        builder.max_buf_size(BUFFER);
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|_| Error::HttpProtocolError)?;
        let driver = spawn_on(&self.plugin.shared.network, async move {
            let _ = connection.await;
        });
        Ok((sender, driver))
    }

    /// The addresses of the destination that may be called; at least one.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let Self { plugin, destination, .. } = self;
        let found = match destination.host() {
            ServerName::IpAddress(address) => vec![IpAddr::from(*address)],
            host => self.look_up(host.to_str().into_owned()).await?,
        };
        let allowed: Vec<_> = found.iter().copied().filter(|address| prohibited_address(*address).is_none()).collect();
        if allowed.is_empty() && !found.is_empty() {
            plugin.denied(Grant::Http);
            if self.budget.is_news() {
                let (plugin, destination) = (&plugin.name, destination.to_string());
                warn!(
                    plugin,
                    destination, "outbound HTTP refused: the name leads to an address that no plugin may call"
                );
            }
            return Err(Error::DestinationIpProhibited);
        }
        if allowed.is_empty() {
            return Err(name_error());
        }
        Ok(allowed.into_iter().map(|address| SocketAddr::new(address, destination.port())).collect())
    }

    /// Asks the resolver. It goes on asking where the guest has given up, and keeps its place until then: that is what bounds it.
    async fn look_up(&self, host: String) -> Result<Vec<IpAddr>, Error> {
        let place = Arc::clone(&self.grant.lookups).acquire_owned().await.map_err(|_| Error::InternalError(None))?;
        let resolver = Arc::clone(&self.plugin.shared.resolver);
        let asked = self.plugin.shared.network.spawn(async move {
            let found = resolver.resolve(&host).await;
            drop(place);
            found
        });
        let found = asked.await.map_err(|_| Error::InternalError(None))?;
        found.map_err(|error| {
            self.tell(&error);
            name_error()
        })
    }

    /// A connection to the first of the addresses that takes one.
    async fn reach(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
        let stream = TcpStream::connect(addresses).await.map_err(|error| {
            self.tell(&error);
            connect_error(&error)
        })?;
        // A request is one write; waiting for more would only delay it.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// Tells the admin why a host cannot be reached: the guest learns no more than the kind.
    fn tell(&self, error: &io::Error) {
        if self.budget.is_news() {
            let destination = self.destination.to_string();
            warn!(plugin = self.plugin.name, destination, %error, "outbound HTTP failed");
        }
    }
}

/// Waits no longer than the guest wants to. The admission's own deadline holds in any case.
async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, Error>>,
    late: Error,
) -> Result<T, Error> {
    match limit {
        Some(limit) => timeout(limit, work).await.unwrap_or(Err(late)),
        None => work.await,
    }
}

/// As a server wants it: path and query in the request's line, the host in a header (which is there already).
fn origin_form<B>(mut request: Request<B>) -> Result<Request<B>, Error> {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(request)
}

fn name_error() -> Error {
    Error::DnsError { rcode: Some("no address found".to_owned()), info_code: None }
}

fn connect_error(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Error::DestinationIpUnroutable,
        _ => Error::DestinationUnavailable,
    }
}

fn tls_error(error: &io::Error) -> Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}

fn request_error(error: &hyper::Error) -> Error {
    match error.source().and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::HttpRequestBodySize(size)) => Error::HttpRequestBodySize(*size),
        _ => response_error(error),
    }
}

fn response_error(error: &hyper::Error) -> Error {
    if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(None)
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        Error::HttpResponseIncomplete
    } else {
        Error::HttpProtocolError
    }
}
