//! [`ComponentBytes`]: the bytes of a component, and their origin.
//!
//! The origin decides which process compiles them; see [`compiler`](super::compiler).

use std::ops::Deref;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// A component that is not compiled yet.
#[derive(Clone, Debug)]
pub enum ComponentBytes {
    /// A component that is part of this program. The cost of its compilation is known, so the
    /// serving process compiles it.
    BuiltIn(&'static [u8]),
    /// From outside this program: a few kilobytes can make the compiler use gigabytes.
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

/// Returns the SHA-256 of a component in hexadecimal, which identifies it.
#[must_use]
pub fn digest(component: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(component))
}
