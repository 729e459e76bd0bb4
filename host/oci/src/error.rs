//! Errors of registries: [`OciError`].
//!
//! Each message names the configuration key and the equivalent flag of `ampoule plugin push`.

use std::{path::PathBuf, time::Duration};

use crate::media_type::COMPONENT;

/// Why a registry did not return or accept a component.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OciError {
    /// The CA file cannot be used.
    #[error("the file {} (registries.caFile, --ca-file) {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The credentials file cannot be used.
    #[error("the file {} (registries.credentialsFile, --credentials-file) {reason}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A URL without TLS, for a host that requires TLS.
    #[error("{url}: plain HTTP is allowed only for hosts in registries.insecure (--insecure)")]
    PlainHttp {
        /// Scheme and host of the URL.
        url: String,
    },
    /// The host is an address that registries of ConfigMaps must not have.
    #[error("{host} is an address that plugins may not call; a ConfigMap must name another registry")]
    ProhibitedAddress {
        /// Host and port.
        host: String,
    },
    /// The server answers without TLS.
    #[error(
        "{host} does not answer with TLS; for a registry with plain HTTP, list the host in registries.insecure \
         (--insecure)"
    )]
    NotTls {
        /// Host and port.
        host: String,
    },
    /// There was no response.
    #[error("the request to {host} failed: {reason}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// The reason.
        reason: String,
    },
    /// The operation took too long.
    #[error("{host} took longer than {} s", limit.as_secs())]
    Deadline {
        /// Host and port of the registry.
        host: String,
        /// The limit.
        limit: Duration,
    },
    /// Too many redirects.
    #[error("{host} redirects more than {most} times")]
    Redirects {
        /// Host and port of the first request.
        host: String,
        /// The limit.
        most: usize,
    },
    /// The registry requires credentials, and no credentials are configured.
    #[error(
        "{host} requires credentials to {actions} {repository}; {hint} \
         (registries.credentialsFile, --credentials-file)"
    )]
    NoLogin {
        /// Host and port.
        host: String,
        /// The requested rights.
        actions: &'static str,
        /// The repository.
        repository: String,
        /// Why there are no credentials.
        hint: String,
    },
    /// The registry does not accept the credentials.
    #[error(
        "{host} does not allow {who} to {actions} {repository}: {message} \
         (registries.credentialsFile, --credentials-file)"
    )]
    Refused {
        /// Host and port.
        host: String,
        /// The client that was refused.
        who: &'static str,
        /// The requested rights.
        actions: &'static str,
        /// The repository.
        repository: String,
        /// Status and message of the response.
        message: String,
    },
    /// Any other unexpected response.
    #[error("{host} responds to {what} with {message}")]
    UnexpectedResponse {
        /// Host and port.
        host: String,
        /// The request.
        what: String,
        /// Status and message of the response.
        message: String,
    },
    /// The registry limits the rate of requests.
    #[error("{host} responds to {what} with {message}, and asks to wait {} s", wait.as_secs())]
    Busy {
        /// Host and port.
        host: String,
        /// The request.
        what: String,
        /// Status and message of the response.
        message: String,
        /// Time to wait before the next request.
        wait: Duration,
    },
    /// The response is too large.
    #[error("{host} responds to {what} with more than {limit} bytes")]
    ResponseSize {
        /// Host and port.
        host: String,
        /// The request.
        what: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The reference does not exist.
    #[error("the registry has no {reference} ({message})")]
    Missing {
        /// The reference.
        reference: String,
        /// Status and message of the response.
        message: String,
    },
    /// The manifest cannot be used; the text is the reason.
    #[error("the manifest {0}")]
    Manifest(String),
    /// The manifest does not have exactly one component.
    #[error("the manifest has {found}, but exactly one layer of type {COMPONENT} is required")]
    Layers {
        /// The layers of the manifest.
        found: String,
    },
    /// The component is too large.
    #[error("the component is larger than {limit} bytes (injectors[].limits.componentMiB)")]
    ComponentSize {
        /// The limit in bytes.
        limit: usize,
    },
    /// The registry returned other content than requested.
    #[error("the registry returned the wrong {what}: its digest is {found} instead of {expected}")]
    Digest {
        /// `manifest` or `layer`.
        what: &'static str,
        /// The requested digest.
        expected: String,
        /// The digest of the returned content.
        found: String,
    },
}

// === impl OciError ===

impl OciError {
    pub(crate) fn digest(what: &'static str, expected: &str, found: String) -> Self {
        Self::Digest { what, expected: expected.to_owned(), found }
    }
}
