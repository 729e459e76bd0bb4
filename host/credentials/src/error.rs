//! [`LoginError`]: why a login failed, for the admin.
//!
//! The plugin and the pod's author get only its class.

use ampoule_core::{CredentialError, TokenRequestError};
use http::StatusCode;

/// Why a login failed. The reason contains no text of a login server or of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct LoginError {
    /// What the plugin learns.
    pub class: CredentialError,
    /// What the log shows.
    pub reason: String,
}

// === impl LoginError ===

impl LoginError {
    pub(crate) fn misconfigured(reason: impl Into<String>) -> Self {
        Self { class: CredentialError::Misconfigured, reason: reason.into() }
    }

    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self { class: CredentialError::Unavailable, reason: reason.into() }
    }

    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self { class: CredentialError::Refused, reason: reason.into() }
    }

    /// The error for a response without success. `code` is a code from a list of known ones.
    pub(crate) fn of_status(server: &str, status: StatusCode, code: Option<&str>) -> Self {
        let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
        let reason = format!("{server} answered with status {}{code}", status.as_u16());
        match status.as_u16() {
            429 | 500..=599 => Self::unavailable(reason),
            404 | 405 => Self::misconfigured(reason),
            _ => Self::refused(reason),
        }
    }

    /// The error of a token for a login.
    pub(crate) fn of_token_request(error: TokenRequestError) -> Self {
        match error {
            TokenRequestError::Denied(reason) => Self { class: CredentialError::Forbidden, reason },
            TokenRequestError::NoAccount(reason) => Self::misconfigured(reason),
            TokenRequestError::Unavailable(reason) => Self::unavailable(reason),
        }
    }

    pub(crate) fn format_of(server: &str) -> Self {
        Self::unavailable(format!("the response of {server} has an unexpected format"))
    }
}
