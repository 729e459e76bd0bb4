//! Flyte's wire protocol: annotations `flyte.secrets/s<N>`, each a base32 string of a `core.Secret` in protobuf text format.
//!
//! The reader accepts what Flyte's own webhook accepts, to the byte, and differs in two places on purpose: the requests
//! have a fixed order (Flyte's is a Go map's), and a string that is not UTF-8 is refused instead of being carried along.

use serde_json::{Map, Value};

use crate::{AnnotationError, RequestedSecret, SecretRequest, request};

mod base32;
mod literal;
mod text;
mod token;

/// Every annotation whose key starts like this is a request. What follows is a number by custom only.
pub(crate) const PREFIX: &str = "flyte.secrets/s";

/// Decodes every annotation that starts with `flyte.secrets/s`: numbered ones first, in ascending order, then by key.
///
/// # Errors
///
/// The first annotation, in that order, that is not a string or does not hold a `core.Secret`.
pub(crate) fn requests(annotations: &Map<String, Value>) -> Result<Vec<RequestedSecret>, AnnotationError> {
    let mut found: Vec<_> = annotations
        .iter()
        .filter_map(|(key, value)| Some((Order::of(key.strip_prefix(PREFIX)?), key, value)))
        .collect();
    found.sort_unstable_by_key(|(order, key, _)| (*order, *key));
    found
        .into_iter()
        .map(|(_, key, value)| match decode(value) {
            Ok(request) => Ok(RequestedSecret { annotation: key.clone(), request }),
            Err(error) => Err(AnnotationError { annotation: key.clone(), reason: error.to_string() }),
        })
        .collect()
}

/// Where a request stands among the others. A number is compared as its digits, so that none is too large.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order<'a> {
    /// A number: how many digits it has without leading zeros, and those digits.
    Numbered(usize, &'a str),
    /// Anything else.
    Other,
}

/// Why the value of one annotation is not a request.
#[derive(Debug, thiserror::Error)]
enum ValueError {
    #[error(transparent)]
    Type(#[from] request::NotAString),
    #[error(transparent)]
    Base32(#[from] base32::IllegalByte),
    #[error(transparent)]
    Text(#[from] text::TextError),
}

// === impl SecretRequest ===

impl SecretRequest {
    /// The request as the value of a `flyte.secrets/s<N>` annotation, byte for byte as Flyte writes it.
    ///
    /// A request without any content is the empty string. Reading the value back gives an equal request, except that an
    /// `env_var` of `Some("")`, which the protocol cannot say, becomes `None`.
    ///
    /// The length is not limited here: Kubernetes refuses an object whose annotations, keys included, exceed 256 KiB.
    #[must_use]
    pub fn to_flyte_annotation(&self) -> String {
        base32::encode(text::print(self).as_bytes())
    }
}

// === impl Order ===

impl<'a> Order<'a> {
    /// Takes what follows the prefix in the annotation's key.
    fn of(suffix: &'a str) -> Self {
        if suffix.is_empty() || !suffix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::Other;
        }
        let digits = suffix.trim_start_matches('0');
        Self::Numbered(digits.len(), digits)
    }
}

fn decode(value: &Value) -> Result<SecretRequest, ValueError> {
    Ok(text::parse(&base32::decode(request::text_of(value)?)?)?)
}

#[cfg(test)]
mod tests;
