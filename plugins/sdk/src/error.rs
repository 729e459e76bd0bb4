//! [`InjectionError`]: the reason why a plugin does not inject a secret, or does not fetch a value.
//!
//! Each variant is a method of the contract's `request` and `promise`.

/// The reason why a plugin does not inject a secret, or does not fetch a value.
///
/// The pod's author sees the text, cut at 512 bytes: describe the problem and the solution. Never
/// include the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InjectionError {
    /// The backend does not have this secret. The host asks the next injector; if no injector has
    /// the secret, it rejects the pod with code 400.
    NotFound(String),
    /// The backend does not support this delivery. The host continues as for `NotFound`.
    Unsupported(String),
    /// The request is not valid for this backend, for example because a name is missing or
    /// malformed. The host continues as for `NotFound`.
    InvalidRequest(String),
    /// The pod must not have this secret. The host asks no other injector and rejects the pod with
    /// code 403.
    Denied(String),
    /// The backend does not answer at present. The host asks the next injector; if no injector
    /// injects, it rejects the pod with code 503, and the pod's creator may retry.
    Unavailable {
        /// The reason.
        text: String,
        /// Seconds until a retry is useful, for the answer to the API server.
        retry_after: Option<u32>,
    },
    /// The plugin itself failed. The host asks the next injector; if no injector injects, it
    /// rejects the pod with code 500.
    Internal(String),
}

// === impl InjectionError ===

impl InjectionError {
    /// The backend does not have this secret.
    #[must_use]
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::NotFound(text.into())
    }

    /// The backend does not support this delivery.
    #[must_use]
    pub fn unsupported(text: impl Into<String>) -> Self {
        Self::Unsupported(text.into())
    }

    /// The request is not valid for the backend.
    #[must_use]
    pub fn invalid_request(text: impl Into<String>) -> Self {
        Self::InvalidRequest(text.into())
    }

    /// The pod must not have this secret; the host asks no other injector.
    #[must_use]
    pub fn denied(text: impl Into<String>) -> Self {
        Self::Denied(text.into())
    }

    /// The backend does not answer at present.
    #[must_use]
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::Unavailable { text: text.into(), retry_after: None }
    }

    /// The plugin itself failed.
    #[must_use]
    pub fn internal(text: impl Into<String>) -> Self {
        Self::Internal(text.into())
    }

    /// Sets the seconds until a retry is useful. Only `Unavailable` has them; the other variants do
    /// not change.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        match self {
            Self::Unavailable { text, .. } => Self::Unavailable { text, retry_after: Some(seconds) },
            other => other,
        }
    }
}
