//! One field of a JSON object, without the others in memory: [`field`].
//!
//! A pod selects the field, and the document may have a megabyte. So the reader keeps this field
//! only.

use std::{borrow::Cow, fmt};

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The field of an object.
#[derive(Debug, PartialEq, Eq)]
pub enum Field {
    /// Its value: a string without quotes and escapes, any other value as its JSON text.
    Value(Vec<u8>),
    /// The object does not have the field, or the field is `null`.
    Missing,
}

/// The document is not a JSON object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotAnObject;

/// Returns a field of a JSON object. If the object has several fields of this name, the last one.
pub(crate) fn field(document: &[u8], name: &str) -> Result<Field, NotAnObject> {
    let mut reader = serde_json::Deserializer::from_slice(document);
    let found = reader.deserialize_map(Finder(name)).map_err(|_| NotAnObject)?;
    reader.end().map_err(|_| NotAnObject)?;
    Ok(found.map_or(Field::Missing, value))
}

/// Returns the field's value.
fn value(json: &RawValue) -> Field {
    let json = json.get();
    match serde_json::from_str::<Option<Cow<'_, str>>>(json) {
        Ok(None) => Field::Missing,
        Ok(Some(text)) => Field::Value(text.into_owned().into_bytes()),
        Err(_) => Field::Value(json.as_bytes().to_vec()),
    }
}

/// Finds a field of this name.
struct Finder<'a>(&'a str);

// === impl Finder ===

impl<'de> Visitor<'de> for Finder<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<String>()? {
            if name == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}
