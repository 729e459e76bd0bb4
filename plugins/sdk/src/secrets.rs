//! Kubernetes Secrets that an admin has granted (`injectors[].grants.kubernetesSecrets`), read by the host: [`read`].
//!
//! For what the plugin itself needs, such as a store's token; a pod gets a Secret of its own namespace by reference, without this. In
//! tests, [`testing::set_secret`](crate::testing::set_secret) says what there is. A component that uses this module imports
//! `kubernetes-secrets`, and is refused where the grant is missing.

use crate::InjectionError;
pub use crate::bindings::ampoule::injector::kubernetes_secrets::LookupError;

/// The value of a key of a Secret, as it is now.
///
/// # Errors
///
/// If the Secret is not granted, is not there, or cannot be read now.
pub fn read(namespace: &str, name: &str, key: &str) -> Result<Vec<u8>, LookupError> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::ampoule::injector::kubernetes_secrets::read(namespace, name, key);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::secret(namespace, name, key);
}

// === impl LookupError ===

impl From<LookupError> for InjectionError {
    /// That the plugin lacks what it needs is nothing that a pod's author could change: all but `unavailable` is `internal`.
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Denied(text) | LookupError::NotFound(text) => Self::internal(text),
            LookupError::Unavailable(text) => Self::unavailable(text),
        }
    }
}
