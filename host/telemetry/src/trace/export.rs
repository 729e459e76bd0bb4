//! From batches of spans to a collector, by OTLP over HTTP: [`Collector`].
//!
//! What it does not take is dropped, and told once until it takes spans again. It is asked from the batches' own thread, one batch at a
//! time; the connection is the business of the runtime that it was made on.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Request, Uri,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT},
};
use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    transform::{common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use prost::Message as _;
use tokio::{runtime::Handle, time::timeout};
use tracing::{info, warn};

use ampoule_config::TracingConfig;
use ampoule_net::{
    file,
    outbound::{self, CaFileError, HttpClient, PROGRAM, root_cause},
};

/// For one batch: OpenTelemetry's own default.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer; it holds a number and a sentence.
const LONGEST_ANSWER: usize = 64 << 10;

/// A collector.
pub(super) struct Collector {
    client: HttpClient,
    runtime: Handle,
    endpoint: Uri,
    headers_file: Option<PathBuf>,
    resource: ResourceAttributesWithSchema,
    /// It did not take the last batch.
    failing: AtomicBool,
}

/// Why spans cannot be exported, or were not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    #[error("the file {} (tracing.caFile) {reason}", path.display())]
    CaFile { path: PathBuf, reason: String },
    #[error("the file {} (tracing.headersFile) {reason}", path.display())]
    HeadersFile { path: PathBuf, reason: String },
    #[error("it cannot be asked: {0}")]
    Unreachable(String),
    #[error("it took longer than {} s", PATIENCE.as_secs())]
    Slow,
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("it refuses {0} spans")]
    Refused(i64),
}

// === impl Collector ===

impl Collector {
    /// Nothing is asked yet; call it on the runtime that connections are to live on.
    pub(super) fn new(config: &TracingConfig) -> Result<Self, ExportError> {
        let TracingConfig { endpoint, sample_ratio: _, headers_file, ca_file } = config.clone();
        let roots = outbound::roots(ca_file.as_deref())
            .map_err(|CaFileError { path, reason }| ExportError::CaFile { path, reason })?;
        // Read again with each batch: tokens are replaced while the process runs.
        headers(headers_file.as_deref())?;
        Ok(Self {
            client: outbound::client(roots),
            runtime: Handle::current(),
            endpoint,
            headers_file,
            resource: ResourceAttributesWithSchema::default(),
            failing: AtomicBool::new(false),
        })
    }

    async fn send(&self, batch: Vec<SpanData>) -> Result<(), ExportError> {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let mut request = Request::new(Full::from(ExportTraceServiceRequest { resource_spans }.encode_to_vec()));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = headers(self.headers_file.as_deref())?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(PROGRAM));
        let exchange = exchange(self.client.clone(), request);
        // The timer as well is the runtime's.
        match self.runtime.spawn(async { timeout(PATIENCE, exchange).await }).await {
            Ok(answered) => answered.unwrap_or(Err(ExportError::Slow)),
            Err(ended) => Err(ExportError::Unreachable(ended.to_string())),
        }
    }

    /// Not for each batch: what lasts is told when it begins and when it ends.
    fn tell(&self, sent: Result<(), ExportError>) {
        let endpoint = &self.endpoint;
        let failed = self.failing.swap(sent.is_err(), Ordering::Relaxed);
        match sent {
            Err(error) if !failed => warn!(%endpoint, %error, "the collector takes no traces; they are dropped"),
            Ok(()) if failed => info!(%endpoint, "the collector takes traces again"),
            _ => {}
        }
    }
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.tell(self.send(batch).await);
        // The caller would log it, for each batch.
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

async fn exchange(client: HttpClient, request: Request<Full<Bytes>>) -> Result<(), ExportError> {
    let response = client.request(request).await.map_err(|error| ExportError::Unreachable(root_cause(&error)))?;
    let status = response.status();
    // Read whole even where nobody looks at it, so that the connection can be used again.
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
    if !status.is_success() {
        return Err(ExportError::Status(status.as_u16()));
    }
    let body = body.map_err(|error| ExportError::Unreachable(root_cause(&*error)))?.to_bytes();
    // Whoever answers a success with something else has said enough.
    let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    match answer.partial_success.map(|partial| partial.rejected_spans) {
        Some(refused) if refused > 0 => Err(ExportError::Refused(refused)),
        _ => Ok(()),
    }
}

/// A header on each line, as HTTP writes them. An error repeats none.
fn headers(path: Option<&Path>) -> Result<HeaderMap, ExportError> {
    let mut headers = HeaderMap::new();
    let Some(path) = path else { return Ok(headers) };
    let wrong = |reason: String| ExportError::HeadersFile { path: path.to_owned(), reason };
    let text = file::read(path, file::SMALL).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let text = String::from_utf8(text).map_err(|_| wrong("is no text".to_owned()))?;
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let header = line.split_once(':').and_then(|(name, value)| {
            Some((name.trim().parse::<HeaderName>().ok()?, value.trim().parse::<HeaderValue>().ok()?))
        });
        let Some((name, mut value)) = header else {
            return Err(wrong(format!("has no header on line {}; write NAME: VALUE on each line", i + 1)));
        };
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_of_headers_has_one_on_each_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("headers");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            headers(Some(&path)).map_err(|error| error.to_string())
        };
        let taken = read("Authorization: Bearer a:b\r\n\nX-Tenant:team\n").unwrap();
        assert_eq!(taken["authorization"], "Bearer a:b");
        assert_eq!(taken["x-tenant"], "team");
        assert_eq!(format!("{taken:?}"), r#"{"authorization": Sensitive, "x-tenant": Sensitive}"#);
        let file = format!("the file {} (tracing.headersFile)", path.display());
        let line = |line| Err(format!("{file} has no header on line {line}; write NAME: VALUE on each line"));
        assert_eq!(read("a secret token"), line(1));
        assert_eq!(read("X-Tenant: team\nA B: secret"), line(2));
        fs::remove_file(&path).unwrap();
        let gone = headers(Some(&path)).unwrap_err().to_string();
        assert_eq!(gone, format!("{file} cannot be read: No such file or directory (os error 2)"));
    }
}
