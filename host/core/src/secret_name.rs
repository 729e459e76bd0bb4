//! [`SecretName`]: namespace and name of a Kubernetes Secret; [`LabelledSecrets`]: the Secrets of a
//! namespace with some labels.
//!
//! Messages show it as `namespace/name`.

use std::{collections::BTreeMap, fmt};

/// Namespace and name of a Kubernetes Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName {
    /// Its namespace.
    pub namespace: String,
    /// Its `metadata.name`.
    pub name: String,
}

/// The Kubernetes Secrets of a namespace that have all of these labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelledSecrets {
    /// Their namespace.
    pub namespace: String,
    /// The labels; at least one.
    pub labels: BTreeMap<String, String>,
}

// === impl SecretName ===

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

// === impl LabelledSecrets ===

impl LabelledSecrets {
    /// Whether a Secret with these labels matches one of the selectors. Without selectors, the
    /// labels do not matter.
    #[must_use]
    pub fn cover(selectors: &[Self], labels: &BTreeMap<String, String>) -> bool {
        let matches = |selector: &Self| selector.labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        selectors.is_empty() || selectors.iter().any(matches)
    }
}
