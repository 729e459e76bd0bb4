//! [`NamingKey`]: names the Secrets that carry values.
//!
//! A name is an HMAC over namespace, injector, keys and values, so that it identifies the content
//! and reveals nothing about it.

use std::{collections::BTreeMap, fmt};

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};

use super::DeliveredKind;
use crate::{edit::SecretValue, generated_name::GeneratedName};

/// Bytes of a digest.
const DIGEST: usize = 16;

/// The key of the names. All replicas need the same one. It is wiped when it is dropped.
#[derive(Clone)]
pub struct NamingKey(Zeroizing<[u8; Self::BYTES]>);

// === impl NamingKey ===

impl NamingKey {
    /// The length of a key in bytes.
    pub const BYTES: usize = 32;

    /// Wraps random bytes.
    #[must_use]
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes, to store them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Returns an HMAC over these parts in hexadecimal, of 16 bytes. `purpose` tells digests of
    /// different kinds apart.
    pub(super) fn digest<'a>(&self, purpose: &str, parts: impl Iterator<Item = &'a [u8]>) -> String {
        HEXLOWER.encode(&self.mac_of(purpose, parts).finalize().into_bytes()[..DIGEST])
    }

    /// Whether a text is the digest of these parts, in constant time.
    pub(super) fn is_digest<'a>(&self, text: &str, purpose: &str, parts: impl Iterator<Item = &'a [u8]>) -> bool {
        let Ok(digest) = HEXLOWER.decode(text.as_bytes()) else { return false };
        digest.len() == DIGEST && self.mac_of(purpose, parts).verify_truncated_left(&digest).is_ok()
    }

    fn mac_of<'a>(&self, purpose: &str, parts: impl Iterator<Item = &'a [u8]>) -> Hmac<Sha256> {
        let mut mac = self.mac();
        // The names of Secrets begin with a namespace, which has no such character.
        update(&mut mac, &[b"/", purpose.as_bytes()].concat());
        parts.for_each(|part| update(&mut mac, part));
        mac
    }

    fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(self.0.as_slice()).expect("HMAC accepts keys of any length")
    }

    /// Returns the name of a Secret with this content.
    pub(super) fn name(
        &self,
        namespace: &str,
        injector: &str,
        kind: DeliveredKind,
        data: &BTreeMap<String, SecretValue>,
    ) -> GeneratedName {
        let mut mac = self.mac();
        for part in [namespace, injector, kind.as_str()] {
            update(&mut mac, part.as_bytes());
        }
        for (key, value) in data {
            update(&mut mac, key.as_bytes());
            update(&mut mac, value.expose());
        }
        let content = HEXLOWER.encode(&mac.finalize().into_bytes());
        GeneratedName::new(&HEXLOWER.encode(&Sha256::digest(injector.as_bytes())), &content)
    }
}

/// Adds a part with its length, so that no two lists of parts have the same bytes.
fn update(mac: &mut Hmac<Sha256>, part: &[u8]) {
    mac.update(&(part.len() as u64).to_be_bytes());
    mac.update(part);
}

impl fmt::Debug for NamingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamingKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: u8, namespace: &str, injector: &str, data: &[(&str, &str)]) -> String {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), SecretValue::new((*value).into()))).collect();
        let key = NamingKey::new([key; NamingKey::BYTES]);
        key.name(namespace, injector, DeliveredKind::Opaque, &data).to_string()
    }

    #[test]
    fn a_name_depends_on_the_key_and_on_every_part_of_the_content() {
        let one = || name(1, "team", "store", &[("A", "x"), ("B", "y")]);
        assert_eq!(one(), one());
        for other in [
            name(2, "team", "store", &[("A", "x"), ("B", "y")]),
            name(1, "other", "store", &[("A", "x"), ("B", "y")]),
            name(1, "team", "other", &[("A", "x"), ("B", "y")]),
            name(1, "team", "store", &[("A", "x"), ("B", "z")]),
            name(1, "team", "store", &[("A", "x"), ("C", "y")]),
            name(1, "team", "store", &[("A", "xBy")]),
            name(1, "team", "store", &[("A", "x")]),
        ] {
            assert_ne!(one(), other);
        }
    }
}
