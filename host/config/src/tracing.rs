//! Section `tracing`: the collector of trace spans, and the share of admissions that is traced.
//!
//! These keys take effect when the process starts.

use std::path::PathBuf;

use http::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// The collector of trace spans, and the share of admissions that is traced.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingConfig {
    /// The URL that takes OTLP over HTTP: scheme, host and path, without credentials.
    pub endpoint: Uri,
    /// The share of admissions that is traced, unless the API server decides.
    pub sample_ratio: f64,
    /// A file with HTTP headers for the collector, which may be confidential.
    pub headers_file: Option<PathBuf>,
    /// CA certificates in PEM form, in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

/// Trace spans, exported as OTLP over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(extend("x-takes-effect" = "restart"))]
pub(crate) struct TracingSection {
    /// URL of the collector, such as `http://collector:4318/v1/traces`, without credentials and
    /// query. Without it, no spans are exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// Share of admissions that is traced, unless the API server decides. Without it, all (1).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    sample_ratio: Option<f64>,
    /// File with HTTP headers for the collector, one `name: value` per line.
    #[serde(skip_serializing_if = "Option::is_none")]
    headers_file: Option<PathBuf>,
    /// File with CA certificates in PEM form, in addition to the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
}

// === impl TracingSection ===

impl TracingSection {
    /// Checks the section; `None` if no spans are exported.
    pub(crate) fn check(self) -> Result<Option<TracingConfig>, ConfigError> {
        if self == Self::default() {
            return Ok(None);
        }
        let at = |reason| ConfigError::at("tracing.endpoint", reason);
        let endpoint = self.endpoint.ok_or_else(|| at("is missing, and the section has other keys"))?;
        Ok(Some(TracingConfig {
            endpoint: address(&endpoint).map_err(at)?,
            sample_ratio: self.sample_ratio.unwrap_or(1.0),
            headers_file: self.headers_file,
            ca_file: self.ca_file,
        }))
    }
}

impl From<&TracingConfig> for TracingSection {
    fn from(config: &TracingConfig) -> Self {
        let TracingConfig { endpoint, sample_ratio, headers_file, ca_file } = config.clone();
        Self { endpoint: Some(endpoint.to_string()), sample_ratio: Some(sample_ratio), headers_file, ca_file }
    }
}

fn address(text: &str) -> Result<Uri, &'static str> {
    let address: Uri = text.parse().unwrap_or_default();
    let is_http = matches!(address.scheme_str(), Some("http" | "https"));
    let authority = address.authority().map_or("", |authority| authority.as_str());
    // The message does not quote the text: it may contain a password.
    if authority.contains('@') || address.query().is_some() {
        return Err("must contain neither credentials nor a query; put them as headers into tracing.headersFile");
    }
    if !is_http || authority.is_empty() || address.path() == "/" {
        return Err("is not a complete URL of a collector, such as http://collector:4318/v1/traces");
    }
    Ok(address)
}
