//! Flyte's wire protocol: annotations `flyte.secrets/s<N>`, each with a base32-encoded
//! `core.Secret` in protobuf text format.
//!
//! The reader accepts the same bytes as Flyte's own webhook, with two intentional differences: the
//! requests have a fixed order (Flyte uses the order of a Go map), and a string that is not UTF-8
//! is an error instead of being passed on.

use serde_json::{Map, Value};

use crate::request::{AnnotationError, NotAString, RequestedSecret, SecretRequest, annotation_text};

mod base32;
mod literal;
mod text_format;
mod token;

/// The prefix of every request's annotation key. A number follows by convention only.
pub(crate) const KEY_PREFIX: &str = "flyte.secrets/s";

/// Decodes every annotation with the prefix `flyte.secrets/s`: numbered keys first, in ascending
/// order, then all others by key.
///
/// # Errors
///
/// Returns the first annotation, in that order, that is not a string or not a `core.Secret`.
pub(crate) fn read_requests(annotations: &Map<String, Value>) -> Result<Vec<RequestedSecret>, AnnotationError> {
    let mut found: Vec<_> = annotations
        .iter()
        .filter_map(|(key, value)| Some((RequestOrder::from_key_suffix(key.strip_prefix(KEY_PREFIX)?), key, value)))
        .collect();
    found.sort_unstable_by_key(|(order, key, _)| (*order, *key));
    found
        .into_iter()
        .map(|(_, key, value)| match decode(value) {
            Ok(request) => Ok(RequestedSecret::new(key.clone(), request)),
            Err(error) => Err(AnnotationError { annotation: key.clone(), reason: error.to_string() }),
        })
        .collect()
}

/// The sort key of a request. Numbers are compared as digits, so that no number overflows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RequestOrder<'a> {
    /// A number: its count of digits without leading zeros, and those digits.
    Numbered(usize, &'a str),
    /// Any other suffix.
    Other,
}

/// Reasons why the value of an annotation is not a request.
#[derive(Debug, thiserror::Error)]
enum ValueError {
    #[error(transparent)]
    Type(#[from] NotAString),
    #[error(transparent)]
    Base32(#[from] base32::IllegalByte),
    #[error(transparent)]
    Text(#[from] text_format::TextError),
}

// === impl SecretRequest ===

impl SecretRequest {
    /// Encodes the request as the value of a `flyte.secrets/s<N>` annotation, byte for byte as
    /// Flyte does.
    ///
    /// The empty request is the empty string. Decoding the value gives an equal request, except
    /// that an `env_var` of `Some("")`, which the protocol cannot represent, becomes `None`.
    ///
    /// The length is unlimited here. Kubernetes rejects an object whose annotations, keys included,
    /// exceed 256 KiB.
    #[must_use]
    pub fn to_flyte_annotation(&self) -> String {
        base32::encode(text_format::print(self).as_bytes())
    }
}

// === impl RequestOrder ===

impl<'a> RequestOrder<'a> {
    /// Parses the part of an annotation's key after the prefix.
    fn from_key_suffix(suffix: &'a str) -> Self {
        if suffix.is_empty() || !suffix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::Other;
        }
        let digits = suffix.trim_start_matches('0');
        Self::Numbered(digits.len(), digits)
    }
}

fn decode(value: &Value) -> Result<SecretRequest, ValueError> {
    Ok(text_format::parse(&base32::decode(annotation_text(value)?)?)?)
}

#[cfg(test)]
mod tests;
