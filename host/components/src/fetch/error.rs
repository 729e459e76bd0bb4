//! Why a component is not to be had, or not to be loaded: [`FetchError`].
//!
//! Whoever asked for it names the injector; the message has the source, what was expected and found, and the key to change.

use std::io;

use ampoule_cluster::ClusterError;
use ampoule_oci::OciError;

/// A component that was not fetched, and why.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {kind}")]
pub struct FetchError {
    /// Where it should have come from, as the configuration writes it.
    pub place: String,
    pub kind: FetchErrorKind,
}

/// Why a component was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchErrorKind {
    #[error("there is no such built-in plugin")]
    NoBuiltin,
    #[error("{what} cannot be read: {error}")]
    File { what: String, error: io::Error },
    #[error("the ConfigMap {name} cannot be read: {error}")]
    ConfigMap { name: String, error: ClusterError },
    #[error("there is no ConfigMap {name} in the namespace {namespace}")]
    NoConfigMap { name: String, namespace: String },
    #[error("the ConfigMap has no key {key}; it has {there}")]
    NoKey { key: String, there: String },
    #[error("{0}")]
    Cluster(#[from] ClusterError),
    #[error("{0}")]
    Oci(#[from] OciError),
    #[error("it cannot be unpacked as {format}: {reason}")]
    Unpack { format: &'static str, reason: String },
    #[error("it has more than {limit} bytes (injectors[].limits.componentMiB)")]
    TooLarge { limit: usize },
    #[error("its SHA-256 is {found}, and {pinned} is pinned (injectors[].sha256)")]
    Pin { pinned: String, found: String },
    #[error("it must be signed by {by} ({demanded}): {reason}")]
    Unsigned { by: &'static str, demanded: String, reason: String },
    #[error("fetching it panicked")]
    Panicked,
}
