//! A trace collector: [`Collector`], a server of OTLP over HTTP that keeps all received data,
//! decoded.
//!
//! Debian has no package of the OpenTelemetry Collector; the messages here are generated from the
//! protocol's own files.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    routing::post,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::span::SpanKind,
};
use prost::Message as _;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::eventually;

/// Longer than a process waits before it exports its spans.
const SENT: Duration = Duration::from_secs(20);

/// A running collector. It ends when this value is dropped.
pub struct Collector {
    task: JoinHandle<()>,
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    /// In PEM form; empty for plain HTTP.
    certificate: String,
}

/// A span, with times in nanoseconds since 1970 and identifiers in hexadecimal.
#[derive(Clone, Debug)]
pub struct Span {
    /// The name.
    pub name: String,
    /// The identifier of its trace.
    pub trace: String,
    /// Its own identifier.
    pub id: String,
    /// The identifier of its parent; empty for a root.
    pub parent: String,
    /// Whether its status is an error.
    pub error: bool,
    /// Whether its kind is `SERVER`.
    pub server: bool,
    /// Start time.
    pub start: u64,
    /// End time.
    pub end: u64,
    /// Attributes by key; numbers and booleans as text.
    pub attributes: BTreeMap<String, String>,
    /// Attributes of its process.
    pub resource: BTreeMap<String, String>,
}

#[derive(Default)]
struct Kept {
    bodies: Vec<Bytes>,
    headers: Vec<HeaderMap>,
}

// === impl Collector ===

impl Collector {
    /// A collector on plain HTTP.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub async fn start() -> Result<Self> {
        Self::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// A collector on plain HTTP at this address.
    ///
    /// # Errors
    ///
    /// If the address is in use.
    pub async fn listen(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let (address, kept) = (listener.local_addr()?, Arc::default());
        let router = router(Arc::clone(&kept));
        let task = tokio::spawn(async move {
            // The server ends with its task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { task, address, kept, certificate: String::new() })
    }

    /// A collector over TLS, with a certificate that no client trusts by default.
    ///
    /// # Errors
    ///
    /// If no port is free, or the certificate cannot be made.
    pub async fn over_tls() -> Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, kept) = (listener.local_addr()?, Arc::default());
        let service = TowerToHyperService::new(router(Arc::clone(&kept)));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust the certificate disconnects; the next one may trust
                // it.
                if let Ok(stream) = acceptor.accept(stream).await {
                    let connection = Builder::new(TokioExecutor::new());
                    let service = service.clone();
                    tokio::spawn(
                        async move { connection.serve_connection(TokioIo::new(stream), service).await.is_ok() },
                    );
                }
            }
        });
        Ok(Self { task, address, kept, certificate: certificate.pem() })
    }

    /// The endpoint for traces.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let port = self.address.port();
        let (scheme, host) = if self.certificate.is_empty() { ("http", "127.0.0.1") } else { ("https", "localhost") };
        format!("{scheme}://{host}:{port}/v1/traces")
    }

    /// The certificate that clients must trust, in PEM form.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// All received bytes, by batch.
    #[must_use]
    pub fn bodies(&self) -> Vec<Bytes> {
        self.kept.lock().expect("no thread panics while it holds the lock").bodies.clone()
    }

    /// The headers of each batch.
    #[must_use]
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.kept.lock().expect("no thread panics while it holds the lock").headers.clone()
    }

    /// All received spans, in the order of their starts.
    ///
    /// # Errors
    ///
    /// If other data was received.
    pub fn spans(&self) -> Result<Vec<Span>> {
        let mut spans = Vec::new();
        for body in self.bodies() {
            for group in ExportTraceServiceRequest::decode(body).context("no batch of spans")?.resource_spans {
                let resource = attributes(group.resource.unwrap_or_default().attributes);
                for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    spans.push(Span::of(span, resource.clone()));
                }
            }
        }
        spans.sort_by_key(|span| (span.start, u64::MAX - span.end));
        Ok(spans)
    }

    /// Waits for this number of spans with this name, and returns all received spans.
    ///
    /// # Errors
    ///
    /// If they do not arrive in time.
    pub async fn wait_for(&self, name: &str, count: usize) -> Result<Vec<Span>> {
        eventually(&format!("{count} spans {name:?}"), SENT, async || {
            let spans = self.spans()?;
            let found = spans.iter().filter(|span| span.name == name).count();
            ensure!(found >= count, "{found} of {count} came");
            Ok(spans)
        })
        .await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Span ===

impl Span {
    fn of(span: opentelemetry_proto::tonic::trace::v1::Span, resource: BTreeMap<String, String>) -> Self {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        Self {
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            server: span.kind() == SpanKind::Server,
            error: span.status.is_some_and(|status| status.code == 2),
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
            attributes: attributes(span.attributes),
            name: span.name,
            resource,
        }
    }

    /// An attribute; empty if it is absent.
    #[must_use]
    pub fn get(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    };
    pairs.into_iter().map(|pair| (pair.key, text(pair.value.and_then(|value| value.value)))).collect()
}

fn router(kept: Arc<Mutex<Kept>>) -> Router {
    Router::new().route("/v1/traces", post(take)).with_state(kept)
}

/// An empty body is a protobuf message: everything was accepted.
async fn take(State(kept): State<Arc<Mutex<Kept>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if headers.get(CONTENT_TYPE).is_none_or(|kind| kind != "application/x-protobuf") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    let mut kept = kept.lock().expect("no thread panics while it holds the lock");
    kept.bodies.push(body);
    kept.headers.push(headers);
    StatusCode::OK
}
