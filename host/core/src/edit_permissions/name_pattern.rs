//! [`NamePattern`]: one name, or all names with a prefix.
//!
//! Prefixes are enough for images, paths and keys. The intersection of two lists of prefixes is
//! again such a list, so that a ceiling can be computed and shown.

use std::fmt;

/// A permitted name. With `*` at its end, it permits every name that starts with the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    /// The name, or the prefix without `*`.
    text: String,
    is_prefix: bool,
}

// === impl NamePattern ===

impl NamePattern {
    /// Reads a pattern. Only a `*` at the end has a meaning.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        match pattern.strip_suffix('*') {
            Some(prefix) => Self { text: prefix.to_owned(), is_prefix: true },
            None => Self { text: pattern.to_owned(), is_prefix: false },
        }
    }

    /// Whether the pattern permits the name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if self.is_prefix { name.starts_with(&self.text) } else { name == self.text }
    }

    /// Whether the pattern permits every name that `other` permits.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self == other || (self.is_prefix && other.text.starts_with(&self.text))
    }

    /// Whether the pattern permits one name only.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.is_prefix
    }

    /// Returns the name, or the prefix without `*`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.is_prefix { f.write_str("*") } else { Ok(()) }
    }
}
