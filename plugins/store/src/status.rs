//! The reason for a status of a store: [`reason`].
//!
//! The texts contain the name of the secret and the status, never a part of the answer's body.

use ampoule_plugin_sdk::{InjectionError, http::Response};

use crate::{Secret, Store};

/// Returns the reason for an answer with another status than 200.
pub(crate) fn reason<S: Store>(secret: &Secret, answer: &Response) -> InjectionError {
    let (title, address, status) = (S::TITLE, S::ADDRESS, answer.status);
    match status {
        404 | 410 => InjectionError::not_found(format!("{title} has no secret {secret}")),
        400 | 422 => InjectionError::invalid_request(format!("{title} rejects the request for secret {secret}")),
        401 => InjectionError::denied(format!(
            "{title} rejects the webhook's credential; check `credential` of the host in grants.http"
        )),
        403 => InjectionError::denied(format!("{title} denies access to secret {secret}")),
        300..=399 => InjectionError::internal(format!("{title} answers with a redirect; check settings.{address}")),
        408 | 412 | 429 | 500.. => {
            let error = InjectionError::unavailable(format!("{title} answers with status {status}"));
            match answer.header("retry-after").and_then(|seconds| seconds.trim().parse().ok()) {
                Some(seconds) => error.retry_after(seconds),
                None => error,
            }
        }
        _ => InjectionError::internal(format!("{title} answers with status {status}; check settings.{address}")),
    }
}
