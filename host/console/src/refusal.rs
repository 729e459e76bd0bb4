//! [`ApiRefusal`]: why a request is refused, as the status and the JSON `{"detail": "…"}`.
//!
//! The answer without credentials has the bytes of Flyte's middleware, so that a client of both
//! reads one shape. Refusals of the API server keep their status and message.

use std::time::Duration;

use ampoule_cluster::ClusterError;
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// The body of every refusal.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct RefusalBody {
    /// The reason.
    detail: String,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiRefusal {
    /// The request has no token.
    #[error("Authentication credentials required")]
    NoCredentials,
    /// The API server does not allow the action.
    #[error("{0}")]
    Denied(String),
    /// The API server answered with 401 or 403.
    #[error("{message}")]
    ByApiServer { status: StatusCode, message: String },
    /// The API server did not give a usable answer.
    #[error("{0}")]
    BadGateway(String),
    /// A part of the request is not valid.
    #[error("{0}")]
    Invalid(String),
    /// The body has too many bytes or values.
    #[error("{0}")]
    TooLarge(String),
    /// The body has another type.
    #[error("content-type must be application/json or application/yaml")]
    ContentType,
    /// Too many requests run.
    #[error("too many requests of the console at once; retry in a second")]
    Busy,
    /// The time for the request is over.
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
    /// The path does not exist.
    #[error("not found")]
    NotFound,
    /// The path has another method.
    #[error("method not allowed")]
    Method,
    /// A defect.
    #[error("internal error; the webhook's log has the place")]
    Internal,
}

// === impl ApiRefusal ===

impl ApiRefusal {
    pub(crate) fn invalid(reason: String) -> Self {
        Self::Invalid(reason)
    }

    /// The text of the answer.
    pub(crate) fn detail(&self) -> String {
        self.to_string()
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoCredentials => StatusCode::UNAUTHORIZED,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::ByApiServer { status, .. } => *status,
            Self::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Slow(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<ClusterError> for ApiRefusal {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::Refused { code: 401, message } => {
                Self::ByApiServer { status: StatusCode::UNAUTHORIZED, message }
            }
            ClusterError::Refused { code: 403, message } => {
                Self::ByApiServer { status: StatusCode::FORBIDDEN, message }
            }
            ClusterError::Refused { code, .. } => {
                Self::BadGateway(format!("the API server answered with status {code}"))
            }
            // Its address is not for every caller.
            ClusterError::Unreachable(_) => Self::BadGateway("the API server is unreachable".to_owned()),
            other => Self::BadGateway(other.to_string()),
        }
    }
}

impl IntoResponse for ApiRefusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(RefusalBody { detail: self.detail() })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self == Self::Busy {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
