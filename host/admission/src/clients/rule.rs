//! [`ClientRule`]: the rule that a request's client must satisfy.
//!
//! The rule of a front proxy comes from the API server and can change while requests are served.

use std::sync::Arc;

use ampoule_net::listener::{CertificateNames, ClientCertificate, Peer};
use ampoule_telemetry::metrics::ClientRefusal;
use arc_swap::ArcSwapOption;
use axum::extract::Request;

use super::aggregated;

/// The rule that a client must satisfy.
#[derive(Clone)]
pub enum ClientRule {
    /// Every client is accepted.
    Open,
    /// The certificate has one of these names.
    Certificate {
        /// Common names, DNS names and URIs.
        allowed_names: Vec<String>,
    },
    /// The certificate is the front proxy's, and reviews are forwarded for one of these users.
    RequestHeader {
        /// The front proxy of the API server.
        proxy: Arc<FrontProxy>,
        /// The users who may send reviews.
        allowed_users: Vec<String>,
    },
}

/// The current description of the front proxy. No request is accepted before the first one.
#[derive(Default)]
pub struct FrontProxy(ArcSwapOption<FrontProxyRules>);

/// How the API server describes its front proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontProxyRules {
    /// Common names of the certificate; empty for any certificate of the CA.
    pub allowed_names: Vec<String>,
    /// The headers that can contain the name of the user.
    pub username_headers: Vec<String>,
}

// === impl ClientRule ===

impl ClientRule {
    /// Checks the head of a request.
    pub(super) fn check(&self, request: &Request) -> Result<(), ClientRefusal> {
        match self {
            Self::Open => Ok(()),
            Self::Certificate { allowed_names } => {
                let names = certificate_names(request)?;
                if names.all().any(|name| allowed_names.iter().any(|allowed| allowed == name)) {
                    return Ok(());
                }
                Err(ClientRefusal::Name)
            }
            Self::RequestHeader { proxy, allowed_users } => {
                let names = certificate_names(request)?;
                let rules = proxy.0.load_full().ok_or(ClientRefusal::Name)?;
                if !rules.accepts(names) {
                    return Err(ClientRefusal::Name);
                }
                // Discovery is for every user: the API server checks who may read it.
                if aggregated::is_discovery(request) || rules.are_all_users_in(request, allowed_users) {
                    return Ok(());
                }
                Err(ClientRefusal::User)
            }
        }
    }
}

fn certificate_names(request: &Request) -> Result<&CertificateNames, ClientRefusal> {
    match request.extensions().get::<Peer>().map(|peer| &peer.certificate) {
        None | Some(ClientCertificate::None) => Err(ClientRefusal::NoCertificate),
        Some(ClientCertificate::Unreadable) => Err(ClientRefusal::Name),
        Some(ClientCertificate::Named(names)) => Ok(names),
    }
}

// === impl FrontProxy ===

impl FrontProxy {
    /// Uses this description for every request from now on.
    pub fn install(&self, rules: FrontProxyRules) {
        self.0.store(Some(Arc::new(rules)));
    }
}

// === impl FrontProxyRules ===

impl FrontProxyRules {
    /// Compares common names only, as the API server does.
    fn accepts(&self, names: &CertificateNames) -> bool {
        self.allowed_names.is_empty()
            || names.common_names.iter().any(|name| self.allowed_names.iter().any(|allowed| allowed == name))
    }

    /// Whether the request names at least one user, and no user who is not allowed.
    ///
    /// The proxy replaces `X-Remote-User`, but may pass another configured header from the client.
    /// So every header counts, and not only the first.
    fn are_all_users_in(&self, request: &Request, allowed: &[String]) -> bool {
        let values = self.username_headers.iter().flat_map(|header| request.headers().get_all(header.as_str()));
        let mut users = values.map(|value| value.to_str().unwrap_or_default()).peekable();
        users.peek().is_some() && users.all(|user| allowed.iter().any(|allowed| allowed == user))
    }
}
