//! Export of span batches to a collector, by OTLP over HTTP: [`Collector`].
//!
//! Spans that the collector does not accept are dropped. The log reports the first failure, and the
//! recovery. Batches are sent one at a time from the exporter's own thread; the connection belongs
//! to the runtime on which the exporter was created.

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

/// Timeout for one batch: OpenTelemetry's default.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum length of a response in bytes; it contains a number and a sentence.
const LONGEST_RESPONSE: usize = 64 << 10;

/// Client of a collector.
pub(super) struct Collector {
    client: HttpClient,
    runtime: Handle,
    endpoint: Uri,
    headers_file: Option<PathBuf>,
    resource: ResourceAttributesWithSchema,
    /// Whether the last batch failed.
    failing: AtomicBool,
}

/// Errors of the export of spans: of its configuration, or of a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The file of CA certificates is not usable.
    #[error("the file {} (tracing.caFile) {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The problem, to be read after the file's name.
        reason: String,
    },
    /// The file of headers is not usable.
    #[error("the file {} (tracing.headersFile) {reason}", path.display())]
    HeadersFile {
        /// The file.
        path: PathBuf,
        /// The problem, to be read after the file's name.
        reason: String,
    },
    /// The connection failed.
    #[error("the collector is unreachable: {0}")]
    Unreachable(String),
    /// The request timed out.
    #[error("no response within {} s", EXPORT_TIMEOUT.as_secs())]
    Slow,
    /// The response has a status other than success.
    #[error("the collector returned HTTP status {0}")]
    Status(u16),
    /// The collector accepted only a part of the batch.
    #[error("the collector rejected {0} spans")]
    Refused(i64),
}

// === impl Collector ===

impl Collector {
    /// Creates the client on the current runtime, which will own the connections. It does not
    /// connect.
    pub(super) fn new(config: &TracingConfig) -> Result<Self, ExportError> {
        let roots = outbound::roots(config.ca_file.as_deref())
            .map_err(|CaFileError { path, reason }| ExportError::CaFile { path, reason })?;
        // Only a check: each batch reads the file anew, because tokens are rotated.
        headers(config.headers_file.as_deref())?;
        Ok(Self {
            client: outbound::client(roots),
            runtime: Handle::current(),
            endpoint: config.endpoint.clone(),
            headers_file: config.headers_file.clone(),
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
        // The timer also needs the runtime.
        match self.runtime.spawn(async { timeout(EXPORT_TIMEOUT, exchange).await }).await {
            Ok(answered) => answered.unwrap_or(Err(ExportError::Slow)),
            Err(ended) => Err(ExportError::Unreachable(ended.to_string())),
        }
    }

    /// Logs the first failure and the recovery, not each batch.
    fn log(&self, sent: Result<(), ExportError>) {
        let endpoint = &self.endpoint;
        let failed = self.failing.swap(sent.is_err(), Ordering::Relaxed);
        match sent {
            Err(error) if !failed => {
                warn!(%endpoint, %error, "the collector does not accept traces; spans are dropped")
            }
            Ok(()) if failed => info!(%endpoint, "the collector accepts traces again"),
            _ => {}
        }
    }
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.log(self.send(batch).await);
        // The caller would log an error for each batch.
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
    // The whole body is read even if it is not used, so that the connection can be reused.
    let body = Limited::new(response.into_body(), LONGEST_RESPONSE).collect().await;
    if !status.is_success() {
        return Err(ExportError::Status(status.as_u16()));
    }
    let body = body.map_err(|error| ExportError::Unreachable(root_cause(&*error)))?.to_bytes();
    // The status is success, so a body that cannot be decoded is ignored.
    let response = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    match response.partial_success.map(|partial| partial.rejected_spans) {
        Some(refused) if refused > 0 => Err(ExportError::Refused(refused)),
        _ => Ok(()),
    }
}

/// Reads a file with one HTTP header per line. Errors do not contain the file's text.
fn headers(path: Option<&Path>) -> Result<HeaderMap, ExportError> {
    let mut headers = HeaderMap::new();
    let Some(path) = path else { return Ok(headers) };
    let wrong = |reason: String| ExportError::HeadersFile { path: path.to_owned(), reason };
    let text = file::read(path, file::SMALL).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let text = String::from_utf8(text).map_err(|_| wrong("is not UTF-8 text".to_owned()))?;
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
    fn a_headers_file_contains_one_header_per_line() {
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
