//! What a plugin may reach beyond its sandbox: [`Grants`], nothing by default.
//!
//! A grant that an interface cannot do without ([`Grant::is_required`]) is asked for when a component is loaded; every grant is
//! asked again at each call, so that a component that gets past the first check gets nothing.

use std::{collections::BTreeSet, fmt};

use secrecy::SecretString;

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

/// One kind of grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Grant {
    /// HTTP over TLS to listed hosts.
    Http,
    /// Listed Kubernetes Secrets.
    KubernetesSecrets,
    /// Listed variables of the webhook's environment.
    Environment,
    /// Clocks that go.
    Clock,
    /// Random numbers.
    Randomness,
}

/// A Kubernetes Secret by its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName {
    /// Its namespace.
    pub namespace: String,
    /// Its `metadata.name`.
    pub name: String,
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

// === impl Grant ===

impl Grant {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Http, Self::KubernetesSecrets, Self::Environment, Self::Clock, Self::Randomness];

    /// Its key below `injectors[].grants` in the configuration; also the label value in metrics.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::KubernetesSecrets => "kubernetesSecrets",
            Self::Environment => "environment",
            Self::Clock => "clock",
            Self::Randomness => "randomness",
        }
    }

    /// Whether a component that imports it is refused without it. The others are there without a grant as well, and empty.
    #[must_use]
    pub fn is_required(self) -> bool {
        matches!(self, Self::Http | Self::KubernetesSecrets)
    }

    /// What to do for a component that imports it and lacks it.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Http => {
                "list the hosts that it may call in injectors[].grants.http.hosts, or build the plugin without it \
                 (JavaScript: `--disable http`)"
            }
            Self::KubernetesSecrets => {
                "list the Secrets that it may read in injectors[].grants.kubernetesSecrets, or build the plugin without it"
            }
            Self::Environment => "list the variables that it may see in injectors[].grants.environment",
            Self::Clock => "set injectors[].grants.clock",
            Self::Randomness => "set injectors[].grants.randomness",
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

// === impl SecretName ===

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
