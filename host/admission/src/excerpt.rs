//! [`cut`]: text of a client, shortened for a log line.
//!
//! Kubernetes limits names to 253 bytes; a client that sends more gets a shorter name in the log.

/// Kubernetes' limit for a name, in bytes.
const LONGEST_NAME: usize = 253;

/// The start of `text`, at most [`LONGEST_NAME`] bytes.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_NAME)]
}
