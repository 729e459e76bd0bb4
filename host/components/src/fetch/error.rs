//! Why a component was not fetched, or must not be loaded: [`FetchError`].
//!
//! The message has the source, the expected and the found value, and the key to change. The caller
//! adds the injector.

use std::io;

use ampoule_cluster::ClusterError;
use ampoule_oci::OciError;

/// A component that was not fetched, and the reason.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {kind}")]
pub struct FetchError {
    /// The source, as in the configuration.
    pub place: String,
    /// The reason.
    pub kind: FetchErrorKind,
}

/// Why a component was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchErrorKind {
    /// The program does not contain the plugin.
    #[error("no such built-in plugin")]
    NoBuiltin,
    /// A file cannot be read.
    #[error("{what} cannot be read: {error}")]
    File {
        /// The component, or the name of the signature file.
        what: String,
        /// The system's error.
        error: io::Error,
    },
    /// The API server did not return the ConfigMap.
    #[error("the ConfigMap {name} cannot be read: {error}")]
    ConfigMap {
        /// The ConfigMap.
        name: String,
        /// The reason.
        error: ClusterError,
    },
    /// The ConfigMap does not exist.
    #[error("no ConfigMap {name} in namespace {namespace}")]
    NoConfigMap {
        /// The ConfigMap.
        name: String,
        /// The process' namespace.
        namespace: String,
    },
    /// The ConfigMap has no such key.
    #[error("the ConfigMap has no key {key}; it has {there}")]
    NoKey {
        /// The key.
        key: String,
        /// The existing keys.
        there: String,
    },
    /// There is no connection to the API server.
    #[error("{0}")]
    Cluster(#[from] ClusterError),
    /// The registry did not return the component.
    #[error("{0}")]
    Oci(#[from] OciError),
    /// The compressed component is damaged.
    #[error("the component cannot be unpacked as {format}: {reason}")]
    Unpack {
        /// The format of the compression.
        format: &'static str,
        /// The reason.
        reason: String,
    },
    /// The component is too large.
    #[error("the component is larger than {limit} bytes (injectors[].limits.componentMiB)")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The component does not have the pinned hash.
    #[error("the component's SHA-256 is {found}, but injectors[].sha256 pins {pinned}")]
    Pin {
        /// The configured hash.
        pinned: String,
        /// The hash of the component.
        found: String,
    },
    /// There is no valid signature by a required key.
    #[error("the component must be signed by {by} ({demanded}): {reason}")]
    Unsigned {
        /// The required key or keys.
        by: &'static str,
        /// The key of the configuration that requires the signature.
        demanded: String,
        /// The reason for each key.
        reason: String,
    },
    /// A bug in the program.
    #[error("fetching the component panicked")]
    Panicked,
}
