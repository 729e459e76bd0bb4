//! The fields of a fetched value that is a JSON object, for a request for every key of a group.
//!
//! A string becomes its text; any other value stays as the store wrote it, so that no number loses
//! digits.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::value::RawValue;

use super::{FetchedOrigin, SecretValue};

/// The most fields of a value.
const MAX_FIELDS: usize = 256;

/// Why a value has no fields. The text contains no part of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// The value is something else.
    #[error("the value is not a JSON object, so it has no keys; request the whole value")]
    NotAnObject,
    /// The value has too many fields.
    #[error("the value has more than {MAX_FIELDS} keys; request the keys that you need")]
    TooMany,
}

// === impl SecretValue ===

impl SecretValue {
    /// Returns the fields of a JSON object, by their name.
    ///
    /// # Errors
    ///
    /// The value is no JSON object, or has too many fields.
    pub fn fields(&self) -> Result<BTreeMap<String, Self>, FieldsError> {
        let fields: BTreeMap<String, &RawValue> =
            serde_json::from_slice(self.expose()).map_err(|_| FieldsError::NotAnObject)?;
        if fields.len() > MAX_FIELDS {
            return Err(FieldsError::TooMany);
        }
        let whole: Arc<[_]> = Arc::new([FetchedOrigin { injector: None, value: self.clone() }]);
        let fields = fields.into_iter().map(|(name, raw)| (name, field(raw).made_of(Arc::clone(&whole))));
        Ok(fields.collect())
    }

    /// Whether the name of a field can be that of a file. Names that begin with `..` are those of
    /// Kubernetes.
    #[must_use]
    pub fn is_file_name(name: &str) -> bool {
        !name.is_empty() && name != "." && !name.starts_with("..") && !name.contains(['/', '\0']) && name.len() <= 253
    }
}

/// The bytes of a field.
fn field(raw: &RawValue) -> SecretValue {
    let bytes = match serde_json::from_str::<String>(raw.get()) {
        Ok(text) => text.into_bytes(),
        Err(_) => raw.get().as_bytes().to_vec(),
    };
    SecretValue::new(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Result<Vec<(String, String)>, FieldsError> {
        let fields = SecretValue::new(text.as_bytes().to_vec()).fields()?;
        let text = |value: &SecretValue| String::from_utf8(value.to_vec()).unwrap();
        Ok(fields.iter().map(|(name, value)| (name.clone(), text(value))).collect())
    }

    #[test]
    fn a_json_object_has_fields() {
        let text = r#"{"user": "a\"b\u00e4", "port": 5432, "tls": true, "none": null, "f": 1.5, "n": -1,
                       "list": [1, "x"], "map": {"a": {}}, "": "", "big": 12345678901234567890.50}"#;
        let expected = [
            ("", ""),
            ("big", "12345678901234567890.50"),
            ("f", "1.5"),
            ("list", "[1, \"x\"]"),
            ("map", "{\"a\": {}}"),
            ("n", "-1"),
            ("none", "null"),
            ("port", "5432"),
            ("tls", "true"),
            ("user", "a\"bä"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(fields(text), Ok(expected));
        assert_eq!(fields("{}"), Ok(vec![]));
    }

    #[test]
    fn other_values_have_none() {
        for text in ["", "hush", "\"text\"", "[]", "null", "{\"a\": 1", "{\"a\": 1} x", "{1: 2}"] {
            assert_eq!(fields(text), Err(FieldsError::NotAnObject), "{text}");
        }
        let many = (0..257).map(|i| format!("\"{i}\": 1")).collect::<Vec<_>>().join(",");
        assert_eq!(fields(&format!("{{{many}}}")), Err(FieldsError::TooMany));
    }

    #[test]
    fn a_file_name_is_one_segment() {
        for name in ["a", "ca.crt", ".hidden", "a b"] {
            assert!(SecretValue::is_file_name(name), "{name}");
        }
        for name in ["", ".", "..", "..data", "a/b", "a\0"] {
            assert!(!SecretValue::is_file_name(name), "{name}");
        }
    }
}
