//! What a plugin may reach beyond its sandbox: [`Grants`], nothing by default.
//!
//! A grant that an interface cannot do without ([`Grant::is_required`]) is asked for when a component is loaded; every grant is
//! asked again at each call, so that a component that gets past the first check gets nothing.

mod grant;

use std::collections::BTreeSet;

pub use ampoule_core::SecretName;
use secrecy::SecretString;

pub use self::grant::Grant;
use crate::outbound::HttpGrant;

/// What one plugin may reach. `Default` is nothing.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Hosts that it may call by HTTP over TLS (`grants.http`).
    pub http: Option<HttpGrant>,
    /// Kubernetes Secrets that it may read (`grants.kubernetesSecrets`).
    pub kubernetes_secrets: BTreeSet<SecretName>,
    /// Variables that its environment has, with their values (`grants.environment`).
    pub environment: Vec<(String, SecretString)>,
    /// Whether its clocks go (`grants.clock`). Without it they stand still.
    pub clock: bool,
    /// Whether its random numbers are random (`grants.randomness`). Without it they repeat.
    pub randomness: bool,
}

// === impl Grants ===

impl Grants {
    /// Whether anything of this kind was granted.
    pub(crate) fn has(&self, grant: Grant) -> bool {
        let Self { http, kubernetes_secrets, environment, clock, randomness } = self;
        match grant {
            Grant::Http => http.is_some(),
            Grant::KubernetesSecrets => !kubernetes_secrets.is_empty(),
            Grant::Environment => !environment.is_empty(),
            Grant::Clock => *clock,
            Grant::Randomness => *randomness,
        }
    }
}
