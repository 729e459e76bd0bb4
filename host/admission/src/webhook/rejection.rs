//! [`Rejection`]: the HTTP status and the text for a request without a readable review.
//!
//! A text may repeat a header, cut to a bound; it never repeats a byte of a body.

use ampoule_core::text::first_chars;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use ampoule_config::WEBHOOK_PATH;
use ampoule_review::ReviewError;

/// Characters of a content type that a text repeats.
const MAX_TYPE: usize = 100;

/// Why a request gets an HTTP error instead of a review.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejection {
    /// The header does not declare JSON.
    #[error("the content type is {0}; application/json is expected")]
    ContentType(String),
    /// The body is longer than this limit, in bytes.
    #[error("the body is larger than {} MiB", .0 >> 20)]
    TooLarge(usize),
    /// The client ended the body early.
    #[error("the body ended early")]
    Interrupted,
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    Slow,
    /// The memory for requests is used up, and this body was not complete yet.
    #[error("too many request bodies are being read; retry")]
    Evicted,
    /// The memory for requests is used up.
    #[error("the requests in progress use all memory for requests; retry")]
    Crowded,
    /// The body is not a review.
    #[error(transparent)]
    Review(#[from] ReviewError),
    /// The method is not `POST`.
    #[error("method not allowed; use POST")]
    Method,
    /// The path is not the webhook's.
    #[error("not found; send reviews to {WEBHOOK_PATH}")]
    Path,
    /// A defect of this program.
    #[error("internal error")]
    Panic,
}

/// Accepts `application/json` in any letter case and with any parameters.
pub(super) fn check_content_type(header: Option<&HeaderValue>) -> Result<(), Rejection> {
    let text = header.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let essence = text.as_deref().map(|text| text.split(';').next().unwrap_or_default().trim());
    if essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    let received = text.map_or_else(|| "not given".to_owned(), |text| format!("{:?}", first_chars(&text, MAX_TYPE)));
    Err(Rejection::ContentType(received))
}

// === impl Rejection ===

impl Rejection {
    /// The label value in metrics, and the word in the log.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::ContentType(_) => "content-type",
            Self::TooLarge(_) => "too-large",
            Self::Interrupted => "interrupted",
            Self::Slow => "slow",
            Self::Evicted | Self::Crowded => "crowded",
            Self::Review(_) => "not-a-review",
            Self::Method => "method",
            Self::Path => "path",
            Self::Panic => "panic",
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::ContentType(_) | Self::Interrupted | Self::Review(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Evicted | Self::Crowded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path => StatusCode::NOT_FOUND,
            Self::Panic => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for &Rejection {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        let headers = response.headers_mut();
        if matches!(self, Rejection::Evicted | Rejection::Crowded) {
            // The API server then retries until its own timeout.
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if matches!(self, Rejection::Evicted | Rejection::Slow) {
            // The rest of the body may never arrive.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
