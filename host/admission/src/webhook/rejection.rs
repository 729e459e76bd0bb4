//! Requests that hold no review: [`Rejection`], the HTTP status and the text that each gets.
//!
//! A text may say what a header said, cut short; it never repeats a byte of a body.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::intake;
use ampoule_config::WEBHOOK_PATH;
use ampoule_review::ReviewError;

/// A longer content type is cut in the text.
const LONGEST_TYPE: usize = 100;

/// Why a request gets no review for an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejection {
    /// Not JSON by its header.
    #[error("the content type is {0}; application/json is expected")]
    ContentType(String),
    /// The body is longer than the limit.
    #[error("the body is larger than {} MiB", intake::LONGEST >> 20)]
    TooLarge,
    /// The client ended the body early.
    #[error("the body ended early")]
    Interrupted,
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    Slow,
    /// No memory is left for another body.
    #[error("too many reviews are being read at this moment; try again")]
    Crowded,
    /// The body is no review.
    #[error(transparent)]
    Review(#[from] ReviewError),
    /// Not `POST`.
    #[error("only POST is served here")]
    Method,
    /// Not the webhook's path.
    #[error("nothing is served here; reviews go to {WEBHOOK_PATH}")]
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
    let said = text.map_or_else(
        || "not given".to_owned(),
        |text| format!("{:?}", text.chars().take(LONGEST_TYPE).collect::<String>()),
    );
    Err(Rejection::ContentType(said))
}

// === impl Rejection ===

impl Rejection {
    /// The label value in metrics, and the word in the log.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::ContentType(_) => "content-type",
            Self::TooLarge => "too-large",
            Self::Interrupted => "interrupted",
            Self::Slow => "slow",
            Self::Crowded => "crowded",
            Self::Review(_) => "not-a-review",
            Self::Method => "method",
            Self::Path => "path",
            Self::Panic => "panic",
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::ContentType(_) | Self::Interrupted | Self::Review(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Crowded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path => StatusCode::NOT_FOUND,
            Self::Panic => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        if matches!(self, Self::Crowded) {
            // Then the API server tries again by itself, for as long as it waits for an answer.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
