//! [`Shape`]: the type of an expression, with an upper bound of its size.
//!
//! The checker uses the type; the cost uses the size.

use std::fmt;

/// A type and the maximum size of its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Bool,
    Int,
    /// Text of at most this number of bytes.
    Text(u64),
    /// At most this number of elements.
    List(Box<Shape>, u64),
    /// At most this number of entries. Keys are text of at most `key` bytes.
    Map {
        key: u64,
        value: Box<Shape>,
        entries: u64,
    },
    /// A variable whose fields have their own shapes.
    Object(&'static str),
    /// The element of an empty list.
    Unknown,
}

// === impl Shape ===

impl Shape {
    pub(crate) fn list(element: Self, length: u64) -> Self {
        Self::List(Box::new(element), length)
    }

    pub(crate) fn map(key: u64, value: Self, entries: u64) -> Self {
        Self::Map { key, value: Box::new(value), entries }
    }

    /// The maximum number of bytes that a comparison or a copy reads.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Bool | Self::Int | Self::Object(_) | Self::Unknown => 8,
            Self::Text(bytes) => *bytes,
            Self::List(element, length) => element.bytes().saturating_add(16).saturating_mul(*length),
            Self::Map { key, value, entries } => {
                key.saturating_add(value.bytes()).saturating_add(16).saturating_mul(*entries)
            }
        }
    }

    /// The shape of values of either shape; `None` if the types differ.
    pub(crate) fn union(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Unknown, shape) | (shape, Self::Unknown) => Some(shape.clone()),
            (Self::Bool, Self::Bool) => Some(Self::Bool),
            (Self::Int, Self::Int) => Some(Self::Int),
            (Self::Text(one), Self::Text(two)) => Some(Self::Text(*one.max(two))),
            (Self::List(one, length), Self::List(two, other)) => Some(Self::list(one.union(two)?, *length.max(other))),
            (
                Self::Map { key, value, entries },
                Self::Map { key: other_key, value: other_value, entries: other_entries },
            ) => Some(Self::map(*key.max(other_key), value.union(other_value)?, *entries.max(other_entries))),
            _ => None,
        }
    }

    /// Whether no part is larger than that of `bound`, which has the same type.
    pub(crate) fn is_within(&self, bound: &Self) -> bool {
        match (self, bound) {
            (Self::Text(bytes), Self::Text(most)) => bytes <= most,
            (Self::List(element, length), Self::List(bound, most)) => length <= most && element.is_within(bound),
            (Self::Map { key, value, entries }, Self::Map { key: most_key, value: bound, entries: most }) => {
                key <= most_key && entries <= most && value.is_within(bound)
            }
            (Self::Unknown, _) => true,
            (one, other) => one == other,
        }
    }

    /// Writes the sizes, for the message about an input above them.
    pub(crate) fn bound(&self) -> String {
        match self {
            Self::Text(bytes) => format!("{bytes} bytes"),
            Self::List(element, length) => format!("{length} entries or {} per entry", element.bound()),
            Self::Map { key, value, entries } => {
                format!("{entries} entries, {key} bytes per key or {} per value", value.bound())
            }
            Self::Bool | Self::Int | Self::Object(_) | Self::Unknown => self.to_string(),
        }
    }
}

impl fmt::Display for Shape {
    /// Writes the type as the documentation of CEL does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Text(_) => f.write_str("string"),
            Self::List(element, _) => write!(f, "list({element})"),
            Self::Map { value, .. } => write!(f, "map(string, {value})"),
            Self::Object(name) => f.write_str(name),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}
