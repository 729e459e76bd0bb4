//! Checks the URLs of login servers: TLS, no credentials, no query.
//!
//! Metadata services of clouds are link-local and have no certificate.

use http::Uri;

use crate::ConfigError;

/// Whether a URL needs TLS.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Transport {
    /// HTTP over TLS only.
    Tls,
    /// Also HTTP, for a metadata service.
    Any,
}

pub(super) fn check_optional(key: &str, url: Option<&str>, transport: Transport) -> Result<(), ConfigError> {
    url.map_or(Ok(()), |url| check(key, url, transport))
}

pub(super) fn check(key: &str, url: &str, transport: Transport) -> Result<(), ConfigError> {
    let parsed: Uri = url.parse().unwrap_or_default();
    let authority = parsed.authority().map_or("", |authority| authority.as_str());
    // The message does not quote the text: it may contain a password.
    if authority.contains('@') || parsed.query().is_some() {
        return Err(ConfigError::at(key, "must contain neither credentials nor a query"));
    }
    let is_permitted = match parsed.scheme_str() {
        Some("https") => true,
        Some("http") => transport == Transport::Any,
        _ => false,
    };
    if authority.is_empty() || !is_permitted {
        let schemes = if transport == Transport::Any { "http:// or https://" } else { "https://" };
        return Err(ConfigError::at(key, format!("is not a complete URL with {schemes}")));
    }
    Ok(())
}
