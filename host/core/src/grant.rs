//! [`Grant`]: the kinds of grants, their names, and the remedy for a component that lacks one.
//!
//! The grants of one plugin are the engine's `Grants`.

use std::fmt;

/// One kind of grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// HTTP over TLS to listed hosts.
    Http,
    /// Listed Kubernetes Secrets.
    KubernetesSecrets,
    /// A memory that outlives an admission.
    Cache,
    /// Listed variables of the webhook's environment.
    Environment,
    /// Real clocks.
    Clock,
    /// Real random numbers.
    Randomness,
}

// === impl Grant ===

impl Grant {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Http, Self::KubernetesSecrets, Self::Cache, Self::Environment, Self::Clock, Self::Randomness];

    /// Its key below `injectors[].grants` in the configuration, which is also its label value in
    /// metrics.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::KubernetesSecrets => "kubernetesSecrets",
            Self::Cache => "cache",
            Self::Environment => "environment",
            Self::Clock => "clock",
            Self::Randomness => "randomness",
        }
    }

    /// Whether a component that imports its interface needs the grant: it is rejected without it
    /// under `plugins.strictGrants`, and otherwise every call is denied. The interfaces of the
    /// other grants are empty without the grant.
    #[must_use]
    pub fn is_required(self) -> bool {
        matches!(self, Self::Http | Self::KubernetesSecrets)
    }

    /// How to fix a component that imports its interface and lacks the grant.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Http => {
                "list the allowed hosts in injectors[].grants.http.hosts, or remove the import \
                 wasi:http/outgoing-handler from wit/world.wit and build the plugin again"
            }
            Self::KubernetesSecrets => {
                "list the allowed Secrets in injectors[].grants.kubernetesSecrets, or remove the import \
                 ampoule:injector/kubernetes-secrets from wit/world.wit and build the plugin again"
            }
            Self::Cache => "set injectors[].grants.cache",
            Self::Environment => "list the allowed variables in injectors[].grants.environment",
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
