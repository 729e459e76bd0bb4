//! [`KvVersion`]: the setting `kvVersion`, a number or, as in Flyte's configuration, a string.
//!
//! Both versions store keys and values. Version 2 wraps them in another object, together with the
//! secret's metadata.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
};

/// A version of Vault's KV secrets engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvVersion {
    /// Secrets without versions.
    V1,
    /// Secrets with versions.
    V2,
}

impl KvVersion {
    /// Returns the template expression for the object with the keys in Vault's answer.
    pub(crate) fn data(self) -> &'static str {
        match self {
            Self::V1 => ".Data",
            Self::V2 => ".Data.data",
        }
    }
}

impl<'de> Deserialize<'de> for KvVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Version;
        impl Visitor<'_> for Version {
            type Value = KvVersion;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("1 or 2")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<KvVersion, E> {
                match text {
                    "1" => Ok(KvVersion::V1),
                    "2" => Ok(KvVersion::V2),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<KvVersion, E> {
                match number {
                    1 => Ok(KvVersion::V1),
                    2 => Ok(KvVersion::V2),
                    other => Err(E::invalid_value(Unexpected::Unsigned(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Version)
    }
}

#[cfg(test)]
impl serde::Serialize for KvVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::V1 => "1",
            Self::V2 => "2",
        })
    }
}

#[cfg(test)]
impl schemars::JsonSchema for KvVersion {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KvVersion".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": ["1", "2", 1, 2] })
    }
}
