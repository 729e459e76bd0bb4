//! [`cut`]: shortens text that a client sent, for a log line.
//!
//! Kubernetes limits names to 253 bytes; a client that sends more gets a shorter name in the log.

use ampoule_core::text::prefix;

/// Kubernetes' limit for a name, in bytes.
const MAX_NAME: usize = 253;

/// The start of `text`, at most [`MAX_NAME`] bytes.
pub(crate) fn cut(text: &str) -> &str {
    prefix(text, MAX_NAME)
}
