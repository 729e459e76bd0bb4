//! Kubernetes Secrets that an admin granted (`injectors[].grants.kubernetesSecrets`), which the
//! host reads: [`read`], [`exists`], [`first_existing`].
//!
//! Use this for the plugin's own credentials, such as a store's token. A pod gets a Secret of its
//! own namespace by reference, without this module. Without the grant, every call returns
//! [`LookupError::Denied`]. In tests, [`testing::set_secret`](crate::testing::set_secret) sets a
//! Secret.

use crate::InjectionError;
#[cfg(target_arch = "wasm32")]
use crate::bindings::ampoule::injector::kubernetes_secrets as host;

/// The reason why a lookup returned no value. The texts name the Secret, never a value, and may be
/// shown to a pod's author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// The grant does not cover this Secret, or the API server does not allow the webhook to read
    /// it.
    Denied(String),
    /// The Secret does not exist, or does not have this key.
    NotFound(String),
    /// The API server does not answer, or this admission exceeded its limit of calls.
    Unavailable(String),
}

/// Returns the current value of a key of a Secret. Every call reads it again.
///
/// # Errors
///
/// The Secret is not granted, does not exist, or cannot be read at present.
pub fn read(namespace: &str, name: &str, key: &str) -> Result<Vec<u8>, LookupError> {
    #[cfg(target_arch = "wasm32")]
    return host::read(namespace, name, key).map_err(LookupError::from);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::secret(namespace, name, key);
}

/// Returns whether a Secret exists and has this key, without its value.
///
/// # Errors
///
/// The Secret is not granted, or cannot be read at present.
pub fn exists(namespace: &str, name: &str, key: &str) -> Result<bool, LookupError> {
    #[cfg(target_arch = "wasm32")]
    return host::exists(namespace, name, key).map_err(LookupError::from);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::secret_exists(namespace, name, key);
}

/// Returns the position of the first of these keys of Secrets in a namespace that exists: for names
/// that are tried in order. Each pair is the name of a Secret and a key. The host asks for up to
/// four of them at the same time, so this takes as long as one call of [`exists`].
///
/// # Errors
///
/// None exists, and one of them is not granted. Or a Secret cannot be read at present, and no
/// earlier one exists.
pub fn first_existing(namespace: &str, keys: &[(&str, &str)]) -> Result<Option<usize>, LookupError> {
    #[cfg(target_arch = "wasm32")]
    return {
        let key = |(name, key): &(&str, &str)| host::SecretKey {
            namespace: namespace.to_owned(),
            name: (*name).to_owned(),
            key: (*key).to_owned(),
        };
        let keys: Vec<_> = keys.iter().map(key).collect();
        host::first_existing(&keys).map(|found| found.map(|position| position as usize)).map_err(LookupError::from)
    };
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::first_existing_secret(namespace, keys);
}

// === impl LookupError ===

#[cfg(target_arch = "wasm32")]
impl From<host::LookupError> for LookupError {
    fn from(error: host::LookupError) -> Self {
        match error {
            host::LookupError::Denied(text) => Self::Denied(text),
            host::LookupError::NotFound(text) => Self::NotFound(text),
            host::LookupError::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::set_secret;

    #[test]
    fn reads_the_keys_of_granted_secrets() {
        set_secret("vault", "token", "a", "t0ken");
        let denied = || LookupError::Denied("Secret vault/other is not in grants.kubernetesSecrets".to_owned());
        let missing = || LookupError::NotFound("Secret vault/token has no key b".to_owned());
        for (name, key, value, found) in [
            ("token", "a", Ok(b"t0ken".to_vec()), Ok(true)),
            ("token", "b", Err(missing()), Ok(false)),
            ("other", "a", Err(denied()), Err(denied())),
        ] {
            assert_eq!(read("vault", name, key), value);
            assert_eq!(exists("vault", name, key), found);
        }
    }

    #[test]
    fn finds_the_first_key_that_exists() {
        set_secret("vault", "token", "a", "t0ken");
        let denied = || LookupError::Denied("Secret vault/other is not in grants.kubernetesSecrets".to_owned());
        for (keys, found) in [
            (&[("token", "b"), ("token", "a"), ("token", "a")][..], Ok(Some(1))),
            (&[("other", "a"), ("token", "a")], Ok(Some(1))),
            (&[("token", "b"), ("other", "a")], Err(denied())),
            (&[("token", "b")], Ok(None)),
            (&[], Ok(None)),
        ] {
            assert_eq!(first_existing("vault", keys), found);
        }
    }
}
