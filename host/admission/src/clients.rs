//! Who may send a review: [`protect`] refuses other clients before a body is read.
//!
//! The TLS layer has already verified that a certificate belongs to a configured CA. Here, its
//! names are checked, and the user for whom the API server forwards a request. A refused client
//! gets 401 or 403, is counted, and does not reach the audit trail.

mod aggregated;
mod rule;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ampoule_telemetry::metrics::{ClientRefusal, Metrics};
use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use tracing::debug;

pub use self::rule::{ClientRule, FrontProxy, FrontProxyRules};

/// The rule, and the metrics that count refused clients.
struct ClientCheck {
    rule: ClientRule,
    metrics: Metrics,
}

/// Returns the webhook's routes for clients that satisfy the rule.
///
/// Behind a front proxy, the routes are those of an aggregated API: discovery, and the path to
/// which the API server forwards reviews.
pub fn protect(webhook: Router, rule: ClientRule, metrics: Metrics) -> Router {
    let router = match &rule {
        ClientRule::Open => return webhook,
        ClientRule::Certificate { .. } => webhook,
        ClientRule::RequestHeader { .. } => aggregated::router(webhook),
    };
    router.layer(from_fn_with_state(Arc::new(ClientCheck { rule, metrics }), check))
}

async fn check(State(check): State<Arc<ClientCheck>>, request: Request, next: Next) -> Response {
    match check.rule.check(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => check.refuse(refusal),
    }
}

// === impl ClientCheck ===

impl ClientCheck {
    fn refuse(&self, refusal: ClientRefusal) -> Response {
        self.metrics.refused_clients(refusal).inc();
        debug!(reason = refusal.as_str(), "client refused");
        let (status, text) = match refusal {
            ClientRefusal::NoCertificate | ClientRefusal::UnknownCertificate => {
                (StatusCode::UNAUTHORIZED, "a client certificate is required\n")
            }
            ClientRefusal::Name => (StatusCode::FORBIDDEN, "the client certificate has no allowed name\n"),
            ClientRefusal::User => (StatusCode::FORBIDDEN, "the user may not send reviews\n"),
        };
        (status, text).into_response()
    }
}
