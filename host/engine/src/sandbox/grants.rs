//! [`Grants`]: what one plugin can reach outside its sandbox. Nothing by default.
//!
//! Every grant is checked at each call. A component that imports more than its grants cover gets
//! refusals, or is rejected when it is loaded (`plugins.strictGrants`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ampoule_core::{Grant, LabelledSecrets, SecretName};
use secrecy::SecretString;

use super::outbound::grant::HttpGrant;

/// What one plugin can reach. `Default` is nothing.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Hosts that it can call by HTTP over TLS (`grants.http`).
    pub http: Option<HttpGrant>,
    /// Kubernetes Secrets that it can read (`grants.kubernetesSecrets`).
    pub kubernetes_secrets: BTreeSet<SecretName>,
    /// Kubernetes Secrets that it can read, by their labels (`grants.kubernetesSecrets`).
    pub labelled_secrets: LabelledGrants,
    /// A memory that outlives an admission (`grants.cache`).
    pub cache: bool,
    /// Names and values of its environment variables (`grants.environment`).
    pub environment: Vec<(String, SecretString)>,
    /// Real clocks (`grants.clock`). Without this grant, its clocks always show the same time.
    pub clock: bool,
    /// Real random numbers (`grants.randomness`). Without this grant, its random numbers repeat.
    pub randomness: bool,
}

/// Selectors of Kubernetes Secrets by their namespace. Reads share them.
#[derive(Clone, Debug, Default)]
pub struct LabelledGrants(BTreeMap<String, Arc<[LabelledSecrets]>>);

// === impl Grants ===

impl Grants {
    /// Whether the plugin has any grant of this kind.
    pub(crate) fn has(&self, grant: Grant) -> bool {
        match grant {
            Grant::Http => self.http.is_some(),
            Grant::KubernetesSecrets => !self.kubernetes_secrets.is_empty() || !self.labelled_secrets.is_empty(),
            Grant::Cache => self.cache,
            Grant::Environment => !self.environment.is_empty(),
            Grant::Clock => self.clock,
            Grant::Randomness => self.randomness,
        }
    }

    /// Whether the guest sees no clock and no random number. What it gets through its other grants
    /// is known at each call.
    pub(crate) fn is_deterministic(&self) -> bool {
        !self.clock && !self.randomness
    }
}

// === impl LabelledGrants ===

impl LabelledGrants {
    /// Whether there is no selector.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The selectors for Secrets of a namespace; `None` without a selector.
    pub(crate) fn of(&self, namespace: &str) -> Option<Arc<[LabelledSecrets]>> {
        self.0.get(namespace).map(Arc::clone)
    }
}

impl FromIterator<LabelledSecrets> for LabelledGrants {
    fn from_iter<T: IntoIterator<Item = LabelledSecrets>>(selectors: T) -> Self {
        let mut grouped: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for selector in selectors {
            grouped.entry(selector.namespace.clone()).or_default().push(selector);
        }
        Self(grouped.into_iter().map(|(namespace, selectors)| (namespace, selectors.into())).collect())
    }
}
