//! The kinds of grants: [`Grant`], what each is called, and what to do for a component that lacks it.
//!
//! Nothing here is granted; that is [`Grants`](super::Grants).

use std::fmt;

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
