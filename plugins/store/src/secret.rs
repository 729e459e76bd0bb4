//! [`Secret`]: the part of a pod's request that selects a value, and the text of its promise.
//!
//! The texts are those of the pod; each store checks them before they become part of a URL.

use std::fmt;

use ampoule_plugin_sdk::{FetchedValue, InjectionError, MAX_PROMISE_SIZE, SecretRequest};
use serde::{Deserialize, Serialize};

use crate::{Store, json};

/// A secret of a store. Its JSON is the promise.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// The name or path of the secret.
    pub name: String,
    /// The version. Empty: the current one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The field of the secret's JSON. `None`: the whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

// === impl Secret ===

impl Secret {
    /// Returns the secret of a request: the group is the name, and the key selects a field; without
    /// a group, the key is the name.
    ///
    /// # Errors
    ///
    /// The request has no key.
    pub fn of(request: &SecretRequest) -> Result<Self, InjectionError> {
        if request.all_keys && !request.group.is_empty() {
            return Ok(Self { name: request.group.clone(), version: request.group_version.clone(), field: None });
        }
        if request.key.is_empty() {
            return Err(InjectionError::invalid_request(format!("key must be set [{request}]")));
        }
        let (name, field) = match request.group.as_str() {
            "" => (&request.key, None),
            _ => (&request.group, Some(request.key.clone())),
        };
        Ok(Self { name: name.clone(), version: request.group_version.clone(), field })
    }

    /// Returns the text of the promise.
    pub(crate) fn to_promise(&self) -> Result<String, InjectionError> {
        let text = serde_json::to_string(self).map_err(|error| InjectionError::internal(error.to_string()))?;
        if text.len() > MAX_PROMISE_SIZE {
            let text = format!("group, version and key must have at most {MAX_PROMISE_SIZE} bytes together, as JSON");
            return Err(InjectionError::invalid_request(text));
        }
        Ok(text)
    }

    /// Reads the text of a promise.
    pub(crate) fn parse(promise: &str) -> Result<Self, InjectionError> {
        serde_json::from_str(promise)
            .map_err(|error| InjectionError::internal(format!("the promise is not valid: {error}")))
    }

    /// Checks that the name, or another text of the pod, is not empty and has only characters that
    /// the store allows. Such a text needs no encoding in a URL.
    ///
    /// # Errors
    ///
    /// The text is not valid. The message names `what`.
    pub fn check(&self, what: &str, text: &str, allowed: impl Fn(u8) -> bool) -> Result<(), InjectionError> {
        if !text.is_empty() && text.bytes().all(allowed) {
            return Ok(());
        }
        Err(self.invalid(what, text))
    }

    /// Returns the reason for a text of the pod that is not valid.
    #[must_use]
    pub fn invalid(&self, what: &str, text: &str) -> InjectionError {
        InjectionError::invalid_request(format!("{text:?} is not a valid {what} [{self}]"))
    }

    /// Returns the value of the secret, or of its field.
    ///
    /// # Errors
    ///
    /// The value is not a JSON object with this field.
    pub fn value<S: Store>(&self, document: Vec<u8>) -> Result<FetchedValue, InjectionError> {
        let Some(field) = &self.field else {
            return Ok(FetchedValue::new(document));
        };
        match json::field(&document, field) {
            Ok(json::Field::Value(value)) => Ok(FetchedValue::new(value)),
            Ok(json::Field::Missing) => {
                Err(InjectionError::not_found(format!("{} has no key {field:?}", self.of_store::<S>())))
            }
            Err(json::NotAnObject) => Err(InjectionError::invalid_request(format!(
                "{} is not a JSON object, so it has no key {field:?}; to get the whole value, use the name as the key, \
                 without a group",
                self.of_store::<S>()
            ))),
        }
    }

    /// Returns words for a message, such as `secret db of AWS Secrets Manager`.
    pub(crate) fn of_store<S: Store>(&self) -> String {
        format!("secret {self} of {}", S::TITLE)
    }
}

impl fmt::Display for Secret {
    /// `name`, or `name@version`: the form that messages use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.version.is_empty() {
            return Ok(());
        }
        write!(f, "@{}", self.version)
    }
}
