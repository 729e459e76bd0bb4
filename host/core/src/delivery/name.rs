//! [`GeneratedName`]: the name of a Secret that carries values.
//!
//! It is an HMAC over namespace, injector, keys and values, so that it identifies the content and
//! reveals nothing about it. Its first part depends on the injector only: it tells an outdated name
//! of an earlier review from a name of the pod's author.

use std::{collections::BTreeMap, fmt};

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::DeliveredKind;
use crate::edit::SecretValue;

/// The start of every name.
const PREFIX: &str = "ampoule-";
/// Hexadecimal digits of the part that depends on the injector.
const FAMILY: usize = 8;
/// Hexadecimal digits of the part that depends on the content.
const CONTENT: usize = 32;

/// The name of a Secret that carries values: `ampoule-FAMILY-CONTENT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GeneratedName(String);

/// The key of the names. All replicas need the same one.
#[derive(Clone)]
pub struct NamingKey([u8; Self::BYTES]);

// === impl GeneratedName ===

impl GeneratedName {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both are names of the same injector's Secrets. False if one of them is no generated
    /// name.
    pub(crate) fn are_related(one: &str, other: &str) -> bool {
        match (family(one), family(other)) {
            (Some(one), Some(other)) => one == other,
            _ => false,
        }
    }
}

impl fmt::Display for GeneratedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the first part of a generated name; `None` for other names.
fn family(name: &str) -> Option<&str> {
    let (family, content) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let is_hex = |text: &str, digits| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    (is_hex(family, FAMILY) && is_hex(content, CONTENT)).then_some(family)
}

// === impl NamingKey ===

impl NamingKey {
    /// The length of a key in bytes.
    pub const BYTES: usize = 32;

    /// Wraps random bytes.
    #[must_use]
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, to store them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Returns the name of a Secret with this content.
    pub(super) fn name(
        &self,
        namespace: &str,
        injector: &str,
        kind: DeliveredKind,
        data: &BTreeMap<String, SecretValue>,
    ) -> GeneratedName {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC accepts keys of any length");
        for part in [namespace, injector, kind.as_str()] {
            update(&mut mac, part.as_bytes());
        }
        for (key, value) in data {
            update(&mut mac, key.as_bytes());
            update(&mut mac, value.expose());
        }
        let content = HEXLOWER.encode(&mac.finalize().into_bytes());
        let family = HEXLOWER.encode(&Sha256::digest(injector.as_bytes()));
        GeneratedName([PREFIX, &family[..FAMILY], "-", &content[..CONTENT]].concat())
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
        assert_eq!(one().len(), PREFIX.len() + FAMILY + 1 + CONTENT);
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

    #[test]
    fn names_of_one_injector_are_related_and_other_names_are_not() {
        let (old, new) = (name(1, "team", "store", &[("A", "x")]), name(1, "team", "store", &[("A", "y")]));
        let other = name(1, "team", "other", &[("A", "x")]);
        for (one, two, related) in [
            (old.as_str(), new.as_str(), true),
            (&old, &other, false),
            (&old, "ampoule-team-token", false),
            ("token", "token", false),
            (&old, &old.to_uppercase(), false),
            (&old, &old[..40], false),
        ] {
            assert_eq!(GeneratedName::are_related(one, two), related, "{one} {two}");
        }
    }
}
