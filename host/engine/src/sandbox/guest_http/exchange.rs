//! [`Exchange`]: one request and its response.
//!
//! The host name is resolved once. Every address is checked, and the connection goes to a checked
//! address: there is no second look-up that could return another address.
//!
//! The guest gets the errors of the interface. The log gets the host name and the kind of the
//! failure, and never a path, a header or a body.

use ampoule_core::Grant;
use ampoule_core::{Destination, prohibited_address};
use std::{
    error::Error as _,
    future::{Future, ready},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ::http::{Request, Response, Uri, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tracing::warn;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use crate::{
    sandbox::{
        context::PluginContext,
        outbound::{
            answers::{HttpAnswers, LocalHttpError},
            budget::{CountedBody, OutboundBudget},
            grant::HttpGrant,
        },
    },
    threads::{AbortOnDrop, spawn_on},
};

/// Bytes of a response head, and of a body that waits to be read.
const BUFFER: usize = 64 << 10;

/// The future that drives a connection while a body is read. It never fails.
pub(super) type ConnectionDriver = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// The body of a request.
type RequestBody = Either<CountedBody<WasiBody>, WasiBody>;

/// A request that passed the checks of the gate.
pub(super) struct Exchange {
    pub(super) plugin: Arc<PluginContext>,
    pub(super) destination: Destination,
    pub(super) grant: HttpGrant,
    pub(super) budget: Arc<OutboundBudget>,
    pub(super) options: RequestOptions,
}

// === impl Exchange ===

impl Exchange {
    /// Sends the request, and waits for the head of the response.
    pub(super) async fn run(self, request: Request<WasiBody>) -> Result<(Response<WasiBody>, ConnectionDriver), Error> {
        let credential = self.grant.credential(&self.destination);
        let request = match &credential {
            Some(credential) => self.with_credential(&**credential, request).await?,
            None => request,
        };
        if let Some(answers) = self.plugin.services.http.clone() {
            return self.answer_locally(&*answers, request).await;
        }
        let connecting = with_timeout(self.options.connect_timeout, self.connect(), Error::ConnectionTimeout);
        let (mut sender, connection) = connecting.await?;
        let budget = Arc::clone(&self.budget);
        // A body that was read for its signature is counted already.
        let is_counted = credential.as_ref().is_some_and(|credential| credential.needs_body());
        let request = origin_form(request)?.map(|body| match is_counted {
            true => Either::Right(body),
            false => Either::Left(CountedBody::for_request(body, budget)),
        });
        let response = async { sender.send_request(request).await.map_err(|error| request_error(&error)) };
        let response = with_timeout(self.options.first_byte_timeout, response, Error::ConnectionReadTimeout).await?;
        if let Some(credential) = credential {
            credential.answered(response.status().as_u16());
        }
        let response = response.map(|body| {
            let body = body.map_err(|error| response_error(&error)).boxed_unsync();
            CountedBody::for_response(body, self.budget).boxed_unsync()
        });
        let driver: ConnectionDriver = Box::new(async move {
            // The body reports an error of the connection.
            let _ = connection.await;
            Ok(())
        });
        Ok((response, driver))
    }

    /// Lets `answers` respond, without a connection.
    async fn answer_locally(
        self,
        answers: &dyn HttpAnswers,
        request: Request<WasiBody>,
    ) -> Result<(Response<WasiBody>, ConnectionDriver), Error> {
        let (head, body) = request.into_parts();
        let body = CountedBody::for_request(body, self.budget.clone()).collect().await?.to_bytes();
        let undefined = format!("no answer is defined for {} {}", head.method, head.uri.path());
        let answer = async {
            let answer = answers.answer(Request::from_parts(head, body)).await;
            answer.map_err(|error| match error {
                LocalHttpError::Undefined => Error::InternalError(Some(undefined)),
                LocalHttpError::ConnectionRefused => Error::ConnectionRefused,
                LocalHttpError::Timeout => Error::ConnectionTimeout,
                LocalHttpError::Tls => Error::TlsCertificateError,
            })
        };
        let response = with_timeout(self.options.first_byte_timeout, answer, Error::ConnectionReadTimeout).await?;
        let response = response.map(|body| {
            let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
            CountedBody::for_response(body, self.budget).boxed_unsync()
        });
        Ok((response, Box::new(ready(Ok(())))))
    }

    /// Opens a connection, and starts the task that moves its bytes.
    async fn connect(&self) -> Result<(SendRequest<RequestBody>, AbortOnDrop<()>), Error> {
        let addresses = self.allowed_addresses().await?;
        let connector = TlsConnector::from(Arc::clone(&self.grant.tls));
        let tcp = self.connect_tcp(&addresses).await?;
        let handshake = connector.connect(self.destination.host().clone(), tcp).await;
        let stream: TlsStream<TcpStream> = handshake.map_err(|error| {
            self.log_failure(&error);
            tls_error(&error)
        })?;
        let mut builder = Builder::new();
        builder.max_buf_size(BUFFER);
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|_| Error::HttpProtocolError)?;
        let driver = spawn_on(&self.plugin.services.network, async move {
            let _ = connection.await;
        });
        Ok((sender, driver))
    }

    /// The addresses of the destination that plugins may call. There is at least one.
    async fn allowed_addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let found = match self.destination.host() {
            ServerName::IpAddress(address) => vec![IpAddr::from(*address)],
            host => self.look_up(host.to_str().into_owned()).await?,
        };
        if found.is_empty() {
            return Err(name_error());
        }
        let allowed: Vec<_> = found.into_iter().filter(|address| prohibited_address(*address).is_none()).collect();
        if allowed.is_empty() {
            self.report_prohibited();
            return Err(Error::DestinationIpProhibited);
        }
        Ok(allowed.into_iter().map(|address| SocketAddr::new(address, self.destination.port())).collect())
    }

    /// Resolves a name. The look-up continues when the guest has given up, and holds its permit
    /// until it ends: this bounds the number of look-ups.
    async fn look_up(&self, host: String) -> Result<Vec<IpAddr>, Error> {
        let permit = Arc::clone(&self.grant.lookups).acquire_owned().await.map_err(|_| Error::InternalError(None))?;
        let resolver = Arc::clone(&self.plugin.services.resolver);
        let lookup = self.plugin.services.network.spawn(async move {
            let found = resolver.resolve(&host).await;
            drop(permit);
            found
        });
        let found = lookup.await.map_err(|_| Error::InternalError(None))?;
        found.map_err(|error| {
            self.log_failure(&error);
            name_error()
        })
    }

    /// Connects to the first address that accepts.
    async fn connect_tcp(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
        let stream = TcpStream::connect(addresses).await.map_err(|error| {
            self.log_failure(&error);
            connect_error(&error)
        })?;
        // A request is one write, so Nagle's algorithm would only delay it.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    fn report_prohibited(&self) {
        self.plugin.report_denied(Grant::Http);
        if self.budget.is_first_problem() {
            let destination = self.destination.to_string();
            warn!(
                plugin = self.plugin.name,
                destination, "outbound HTTP refused: the host resolves to an address that plugins may not call"
            );
        }
    }

    /// Logs why a host is unreachable, for the admin: the guest learns only the kind of the
    /// failure.
    fn log_failure(&self, error: &io::Error) {
        if self.budget.is_first_problem() {
            let destination = self.destination.to_string();
            warn!(plugin = self.plugin.name, destination, %error, "outbound HTTP failed");
        }
    }
}

/// Applies the timeout that the guest set. The deadline of the admission applies in any case.
async fn with_timeout<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, Error>>,
    on_timeout: Error,
) -> Result<T, Error> {
    match limit {
        Some(limit) => timeout(limit, work).await.unwrap_or(Err(on_timeout)),
        None => work.await,
    }
}

/// Reduces the URI to path and query, as a server expects it. The `Host` header is set already.
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
