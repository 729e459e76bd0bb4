//! [`SecretValue`]: secret bytes, and where they are from.
//!
//! Only `expose` and `to_vec` return the bytes. `Debug` and serialization show a placeholder.

use std::{fmt, sync::Arc};

use secrecy::{ExposeSecret, SecretSlice};
use serde::{Serialize, Serializer};

/// Secret bytes: never in logs, messages or debug output, and wiped when dropped.
#[derive(Clone)]
pub struct SecretValue {
    bytes: SecretSlice<u8>,
    source: Option<Arc<ValueSource>>,
    /// The fetched values that it is made of; empty for a fetched value.
    origins: Arc<[FetchedOrigin]>,
}

/// A fetched value that another value is made of.
#[derive(Clone)]
pub(crate) struct FetchedOrigin {
    /// The injector that fetched it; `None` for the injector that delivers the other value.
    pub(crate) injector: Option<String>,
    pub(crate) value: SecretValue,
}

/// Where a value is from, so that it can be fetched again. Contains no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueSource {
    /// The promise of the plugin.
    pub promise: String,
    /// The store's own name of the version, if the plugin gives it.
    pub version: Option<String>,
}

// === impl SecretValue ===

impl SecretValue {
    /// Wraps the bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), source: None, origins: Arc::default() }
    }

    /// Adds the fetched values that it is made of.
    #[must_use]
    pub(crate) fn made_of(self, origins: Arc<[FetchedOrigin]>) -> Self {
        Self { origins, ..self }
    }

    /// Returns the fetched values that it is made of: itself, unless the host made it. Each has the
    /// name of its injector, unless that is the one that delivers this value.
    pub(crate) fn origins(&self) -> impl Iterator<Item = (Option<&str>, &Self)> {
        let itself = self.origins.is_empty().then_some((None, self));
        itself.into_iter().chain(self.origins.iter().map(|origin| (origin.injector.as_deref(), &origin.value)))
    }

    /// Whether both values are made of the same promises, in the same order.
    pub(crate) fn has_same_sources(&self, other: &Self) -> bool {
        let own = self.origins().map(|(injector, value)| (injector, value.source()));
        own.eq(other.origins().map(|(injector, value)| (injector, value.source())))
    }

    /// Adds where the value is from.
    #[must_use]
    pub fn with_source(self, source: ValueSource) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// Returns where the value is from; `None` if it is not the value of a promise.
    #[must_use]
    pub fn source(&self) -> Option<&ValueSource> {
        self.source.as_deref()
    }

    /// Whether the value equals `bytes`.
    #[must_use]
    pub fn is(&self, bytes: &[u8]) -> bool {
        self.expose() == bytes
    }

    /// The number of bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no caller distinguishes empty values")]
    pub fn len(&self) -> usize {
        self.expose().len()
    }

    /// Returns a copy of the bytes, for the Secret that carries them to a pod.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.expose().to_vec()
    }

    /// Returns the text for an environment variable, or why the value cannot be one. A process
    /// ends a variable at its first NUL byte.
    pub(crate) fn as_variable(&self) -> Result<&str, &'static str> {
        match std::str::from_utf8(self.expose()) {
            Ok(text) if text.contains('\0') => Err("contains a NUL byte"),
            Ok(text) => Ok(text),
            Err(_) => Err("is not UTF-8"),
        }
    }

    /// Returns the bytes, for the code that puts them into a pod.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.bytes.expose_secret()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(redacted)")
    }
}

impl PartialEq for SecretValue {
    /// Compares the bytes only.
    fn eq(&self, other: &Self) -> bool {
        self.is(other.expose())
    }
}

impl Serialize for SecretValue {
    /// Serializes a placeholder, never the bytes.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("redacted")
    }
}
