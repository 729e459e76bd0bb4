//! [`FetchedValue`]: the answer of [`Injector::fetch`](crate::Injector::fetch).
//!
//! Its debug output does not contain the value.

use std::fmt;

/// The value of a promise.
#[derive(Clone, PartialEq, Eq)]
pub struct FetchedValue {
    bytes: Vec<u8>,
    version: Option<String>,
    expires_in: Option<u32>,
}

// === impl FetchedValue ===

impl FetchedValue {
    /// A value of a secret. The host writes it into an environment variable, and therefore rejects
    /// bytes that are not UTF-8.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), version: None, expires_in: None }
    }

    /// Replaces the bytes, for example by their decoded form. Version and time stay.
    ///
    /// # Errors
    ///
    /// The function's own error.
    pub fn try_map<E>(self, decode: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, E>) -> Result<Self, E> {
        let Self { bytes, version, expires_in } = self;
        Ok(Self { bytes: decode(bytes)?, version, expires_in })
    }

    /// Sets the store's own name for the version of the value.
    #[must_use]
    pub fn version(self, version: impl Into<String>) -> Self {
        Self { version: Some(version.into()), ..self }
    }

    /// Sets the seconds for which the value may be kept.
    #[must_use]
    pub fn expires_in(self, seconds: u32) -> Self {
        Self { expires_in: Some(seconds), ..self }
    }

    /// Formats the value for an expectation in a test.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn show(&self) -> String {
        let Self { bytes, version, expires_in } = self;
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        if let Some(version) = version {
            text += &format!(", version {version}");
        }
        if let Some(seconds) = expires_in {
            text += &format!(", for {seconds} s");
        }
        text
    }

    /// Answers a promise of the host.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn give(&self, promise: &crate::bindings::ampoule::injector::fetching::Promise) {
        let Self { bytes, version, expires_in } = self;
        promise.value(bytes);
        if let Some(version) = version {
            promise.version(version);
        }
        if let Some(seconds) = expires_in {
            promise.expires_in(*seconds);
        }
    }
}

impl fmt::Debug for FetchedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes: _, version, expires_in } = self;
        f.debug_struct("FetchedValue").field("version", version).field("expires_in", expires_in).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_value_can_be_decoded() {
        let value = FetchedValue::new("hush").version("7").expires_in(60);
        let decoded = value.clone().try_map(|bytes| Ok::<_, ()>(bytes.to_ascii_uppercase()));
        assert_eq!(decoded.unwrap().show(), "HUSH, version 7, for 60 s");
        assert_eq!(value.try_map(|_| Err("no text")), Err("no text"));
    }

    #[test]
    fn debug_output_omits_the_value() {
        let value = FetchedValue::new("hush").version("7").expires_in(60);
        assert_eq!(format!("{value:?}"), r#"FetchedValue { version: Some("7"), expires_in: Some(60), .. }"#);
        assert_ne!(value, FetchedValue::new("other").version("7").expires_in(60));
    }
}
