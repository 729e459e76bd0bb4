//! [`Grants`]: what one plugin can reach outside its sandbox. Nothing by default.
//!
//! A [required](Grant::is_required) grant is checked when a component is loaded. Every grant is
//! checked again at each call, so that a component that passes the first check wrongly still gets
//! nothing.

use ampoule_core::SecretName;
use std::collections::BTreeSet;

use secrecy::SecretString;

use ampoule_core::Grant;

use super::outbound::grant::HttpGrant;

/// What one plugin can reach. `Default` is nothing.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Hosts that it can call by HTTP over TLS (`grants.http`).
    pub http: Option<HttpGrant>,
    /// Kubernetes Secrets that it can read (`grants.kubernetesSecrets`).
    pub kubernetes_secrets: BTreeSet<SecretName>,
    /// Names and values of its environment variables (`grants.environment`).
    pub environment: Vec<(String, SecretString)>,
    /// Real clocks (`grants.clock`). Without this grant, its clocks always show the same time.
    pub clock: bool,
    /// Real random numbers (`grants.randomness`). Without this grant, its random numbers repeat.
    pub randomness: bool,
}

// === impl Grants ===

impl Grants {
    /// Whether the plugin has any grant of this kind.
    pub(crate) fn has(&self, grant: Grant) -> bool {
        match grant {
            Grant::Http => self.http.is_some(),
            Grant::KubernetesSecrets => !self.kubernetes_secrets.is_empty(),
            Grant::Environment => !self.environment.is_empty(),
            Grant::Clock => self.clock,
            Grant::Randomness => self.randomness,
        }
    }
}
