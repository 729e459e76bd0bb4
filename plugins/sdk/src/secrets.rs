//! Kubernetes Secrets that an admin granted (`injectors[].grants.kubernetesSecrets`), which the
//! host reads: [`read`].
//!
//! Use this for the plugin's own credentials, such as a store's token. A pod gets a Secret of its
//! own namespace by reference, without this module. In tests,
//! [`testing::set_secret`](crate::testing::set_secret) sets a Secret. A component that uses this
//! module imports `kubernetes-secrets`; the host refuses to load it without the grant.

use crate::InjectionError;
pub use crate::bindings::ampoule::injector::kubernetes_secrets::LookupError;

/// Returns the current value of a key of a Secret.
///
/// # Errors
///
/// The Secret is not granted, does not exist, or cannot be read at present.
pub fn read(namespace: &str, name: &str, key: &str) -> Result<Vec<u8>, LookupError> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::ampoule::injector::kubernetes_secrets::read(namespace, name, key);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::secret(namespace, name, key);
}

// === impl LookupError ===

impl From<LookupError> for InjectionError {
    /// The pod's author cannot fix the plugin's credentials, so every error except `unavailable`
    /// becomes `internal`.
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Denied(text) | LookupError::NotFound(text) => Self::internal(text),
            LookupError::Unavailable(text) => Self::unavailable(text),
        }
    }
}
