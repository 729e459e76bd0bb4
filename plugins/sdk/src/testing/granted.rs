//! Grants for tests, per thread: answers to HTTP requests, Secrets, variables and the cache.
//!
//! By default nothing is granted, as for a plugin without grants. The cache is always granted.

use std::cell::RefCell;
#[cfg(any(feature = "cache", feature = "environment", feature = "kubernetes-secrets"))]
use std::collections::BTreeMap;

#[cfg(feature = "http")]
use crate::http;
#[cfg(feature = "kubernetes-secrets")]
use crate::secrets::LookupError;

#[cfg(feature = "http")]
type AnswerHttp = Box<dyn FnMut(&http::Request) -> Result<http::Response, http::Error>>;

#[derive(Default)]
struct Granted {
    #[cfg(feature = "http")]
    http: Option<AnswerHttp>,
    #[cfg(feature = "kubernetes-secrets")]
    secrets: BTreeMap<[String; 3], Vec<u8>>,
    #[cfg(feature = "environment")]
    variables: BTreeMap<String, String>,
    #[cfg(feature = "cache")]
    cache: BTreeMap<String, Vec<u8>>,
}

thread_local! {
    static GRANTED: RefCell<Granted> = RefCell::default();
}

/// Sets the function that answers all further HTTP requests of plugins on this thread.
#[cfg(feature = "http")]
pub fn answer_http(answer: impl FnMut(&http::Request) -> Result<http::Response, http::Error> + 'static) {
    GRANTED.with_borrow_mut(|granted| granted.http = Some(Box::new(answer)));
}

/// Sets a key of a Secret that plugins on this thread may read.
#[cfg(feature = "kubernetes-secrets")]
pub fn set_secret(namespace: &str, name: &str, key: &str, value: impl Into<Vec<u8>>) {
    GRANTED.with_borrow_mut(|granted| granted.secrets.insert([namespace, name, key].map(str::to_owned), value.into()));
}

/// Sets a variable that plugins on this thread may read.
#[cfg(feature = "environment")]
pub fn set_variable(name: &str, value: &str) {
    GRANTED.with_borrow_mut(|granted| granted.variables.insert(name.to_owned(), value.to_owned()));
}

/// Removes the entries of the cache of this thread, as if they had expired.
#[cfg(feature = "cache")]
pub fn clear_cache() {
    GRANTED.with_borrow_mut(|granted| granted.cache.clear());
}

#[cfg(feature = "http")]
pub(crate) fn http(request: &http::Request, authority: &str) -> Result<http::Response, http::Error> {
    GRANTED.with_borrow_mut(|granted| match &mut granted.http {
        Some(answer) => answer(request),
        None => Err(http::Error::Denied(format!("{authority}: not in grants.http.hosts"))),
    })
}

#[cfg(feature = "kubernetes-secrets")]
pub(crate) fn secret(namespace: &str, name: &str, key: &str) -> Result<Vec<u8>, LookupError> {
    let path = [namespace, name, key].map(str::to_owned);
    GRANTED.with_borrow(|granted| {
        if let Some(value) = granted.secrets.get(&path) {
            return Ok(value.clone());
        }
        let is_granted = granted.secrets.keys().any(|[found, secret, _]| found == namespace && secret == name);
        Err(match is_granted {
            true => LookupError::NotFound(format!("Secret {namespace}/{name} has no key {key}")),
            false => LookupError::Denied(format!("Secret {namespace}/{name} is not in grants.kubernetesSecrets")),
        })
    })
}

#[cfg(feature = "kubernetes-secrets")]
pub(crate) fn secret_exists(namespace: &str, name: &str, key: &str) -> Result<bool, LookupError> {
    match secret(namespace, name, key) {
        Ok(_) => Ok(true),
        Err(LookupError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(feature = "kubernetes-secrets")]
pub(crate) fn first_existing_secret(namespace: &str, keys: &[(&str, &str)]) -> Result<Option<usize>, LookupError> {
    let mut denied = None;
    for (position, (name, key)) in keys.iter().enumerate() {
        match secret_exists(namespace, name, key) {
            Ok(true) => return Ok(Some(position)),
            Ok(false) => {}
            Err(error @ LookupError::Denied(_)) => _ = denied.get_or_insert(error),
            Err(error) => return Err(error),
        }
    }
    denied.map_or(Ok(None), Err)
}

#[cfg(feature = "environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    GRANTED.with_borrow(|granted| granted.variables.get(name).cloned())
}

#[cfg(feature = "cache")]
pub(crate) fn cached(key: &str) -> Option<Vec<u8>> {
    GRANTED.with_borrow(|granted| granted.cache.get(key).cloned())
}

/// Stores an entry if the host stores it.
#[cfg(feature = "cache")]
pub(crate) fn cache(key: &str, value: &[u8], ttl_seconds: u32) {
    if ttl_seconds > 0 && key.len() <= 256 && value.len() <= 64 << 10 {
        GRANTED.with_borrow_mut(|granted| granted.cache.insert(key.to_owned(), value.to_owned()));
    }
}
