//! Section `tracing`: where spans go, and how many.
//!
//! Without an endpoint there are none.

use std::path::PathBuf;

use http::Uri;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ConfigError, check::within};

/// Where spans go, and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingConfig {
    /// Where a collector takes OTLP over HTTP: an address with scheme, host and path, and without credentials.
    pub endpoint: Uri,
    /// The share of admissions that are traced, where the API server does not say.
    pub sample_ratio: f64,
    /// A file with HTTP headers for the collector, which may be secret.
    pub headers_file: Option<PathBuf>,
    /// CA certificates beside the system's, in PEM form.
    pub ca_file: Option<PathBuf>,
}

/// Section `tracing`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TracingFile {
    /// Where a collector takes OTLP over HTTP. Left out: there are no spans.
    pub endpoint: Option<String>,
    /// The share of admissions that are traced, from 0 to 1. Left out: all of them, as OpenTelemetry has it.
    pub sample_ratio: Option<f64>,
    /// A file with HTTP headers for the collector.
    pub headers_file: Option<PathBuf>,
    /// CA certificates in PEM form.
    pub ca_file: Option<PathBuf>,
}

// === impl TracingConfig ===

impl TracingConfig {
    pub(super) fn effective(&self) -> Value {
        let Self { endpoint, sample_ratio, headers_file, ca_file } = self;
        let mut document = json!({ "endpoint": endpoint.to_string(), "sampleRatio": sample_ratio });
        for (key, path) in [("headersFile", headers_file), ("caFile", ca_file)] {
            if let Some(path) = path {
                document[key] = json!(path);
            }
        }
        document
    }
}

// === impl TracingFile ===

impl TracingFile {
    /// None if there are to be no spans.
    pub(super) fn check(self) -> Result<Option<TracingConfig>, ConfigError> {
        let Some(endpoint) = &self.endpoint else {
            return match self {
                Self { endpoint: None, sample_ratio: None, headers_file: None, ca_file: None } => Ok(None),
                _ => Err(ConfigError::at("tracing.endpoint", "is missing, and the rest of the section is about it")),
            };
        };
        let endpoint = address(endpoint).map_err(|reason| ConfigError::at("tracing.endpoint", reason))?;
        let Self { endpoint: _, sample_ratio, headers_file, ca_file } = self;
        let sample_ratio = within("tracing.sampleRatio", sample_ratio.unwrap_or(1.0), 0.0..=1.0)?;
        Ok(Some(TracingConfig { endpoint, sample_ratio, headers_file, ca_file }))
    }
}

fn address(text: &str) -> Result<Uri, &'static str> {
    let address: Uri = text.parse().unwrap_or_default();
    let named = matches!(address.scheme_str(), Some("http" | "https"));
    let authority = address.authority().map_or("", |authority| authority.as_str());
    // Not repeated: the effective configuration and the log show an endpoint.
    if authority.contains('@') || address.query().is_some() {
        return Err("must hold no credentials and no query: write them as headers into tracing.headersFile");
    }
    if !named || authority.is_empty() || address.path() == "/" {
        return Err("is no whole address of a collector, such as http://collector:4318/v1/traces");
    }
    Ok(address)
}
