//! The settings of the injector (`injectors[].settings`).
//!
//! They contain no credentials: a header can refer to a variable of the webhook's environment.

use serde::Deserialize;

/// The settings of the injector (`injectors[].settings`).
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// URL of a secret. It begins with https:// and may contain {group}, {version} and {key} in its
    /// path and query. Their values are percent-encoded.
    pub url: String,
    /// Headers of every request.
    #[serde(default)]
    pub headers: Vec<Header>,
    /// JSON pointer to the value in the answer. It may contain the same placeholders. Default:
    /// /value.
    #[serde(default = "default_pointer")]
    pub pointer: String,
}

/// A header with the source of its value: either `value` or `environment`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Header {
    /// Name of the header.
    pub name: String,
    /// Value of the header. Not for secrets: everyone with access to the configuration can read it.
    #[serde(default)]
    value: Option<String>,
    /// Variable of the webhook's environment that contains the value. Requires
    /// `grants.environment`.
    #[serde(default)]
    environment: Option<String>,
    /// Text before the variable's value, such as "Bearer ".
    #[serde(default)]
    prefix: String,
}

fn default_pointer() -> String {
    "/value".to_owned()
}

// === impl Header ===

impl Header {
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_token_char = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if self.name.is_empty() || !self.name.bytes().all(is_token_char) {
            return Err(format!("{:?} is not a valid header name", self.name));
        }
        match (&self.value, &self.environment) {
            (Some(_), None) if self.prefix.is_empty() => Ok(()),
            (None, Some(_)) => Ok(()),
            (Some(_), None) => Err("prefix requires environment".to_owned()),
            _ => Err("set either value or environment".to_owned()),
        }
    }

    /// Returns the value of the header, or the reason why it is not available.
    pub(crate) fn value(&self, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        match &self.environment {
            None => Ok(self.value.clone().unwrap_or_default()),
            Some(name) => match variable(name) {
                Some(value) => Ok([&self.prefix, value.trim_end()].concat()),
                None => Err(format!("header {}: variable {name} is not set or not in grants.environment", self.name)),
            },
        }
    }
}
