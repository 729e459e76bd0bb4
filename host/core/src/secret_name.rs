//! [`SecretName`]: the namespace and name of a Kubernetes Secret.
//!
//! Grants list Secrets by it, and the process reads them by it.

use std::fmt;

/// The namespace and name of a Kubernetes Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName {
    /// Its namespace.
    pub namespace: String,
    /// Its `metadata.name`.
    pub name: String,
}

// === impl SecretName ===

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
