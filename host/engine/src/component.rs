//! The bytes of a component, and whose they are: [`ComponentBytes`].
//!
//! Whose they are decides where they are compiled ([`crate::compiler`]).

use std::ops::Deref;

use bytes::Bytes;

/// A component that is not compiled yet.
#[derive(Clone, Debug)]
pub enum ComponentBytes {
    /// Part of this program: what the compiler takes for it is known.
    BuiltIn(&'static [u8]),
    /// Anybody's: a few kilobytes can be made to take the compiler gigabytes.
    Foreign(Bytes),
}

// === impl ComponentBytes ===

impl Deref for ComponentBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::BuiltIn(bytes) => bytes,
            Self::Foreign(bytes) => bytes,
        }
    }
}

impl From<Bytes> for ComponentBytes {
    fn from(bytes: Bytes) -> Self {
        Self::Foreign(bytes)
    }
}

impl From<Vec<u8>> for ComponentBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Foreign(bytes.into())
    }
}

impl From<ComponentBytes> for Bytes {
    fn from(component: ComponentBytes) -> Self {
        match component {
            ComponentBytes::BuiltIn(bytes) => Self::from_static(bytes),
            ComponentBytes::Foreign(bytes) => bytes,
        }
    }
}
