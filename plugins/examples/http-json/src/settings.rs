//! What stands under `settings` in the webhook's configuration.
//!
//! A token never stands there: a header names the variable that holds it.

use serde::Deserialize;

/// The settings.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// Where a secret is: an https URL with {group}, {version} and {key} in its path or query. What they stand for is encoded.
    pub url: String,
    /// Headers of every request.
    #[serde(default)]
    pub headers: Vec<Header>,
    /// JSON pointer of the value in the answer, with the same names in it. Left out: /value.
    #[serde(default = "usual_pointer")]
    pub pointer: String,
}

/// A header, and where its value comes from: one of `value` and `environment`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value; everybody who reads the configuration reads it.
    #[serde(default)]
    value: Option<String>,
    /// The variable of the webhook's environment that holds its value (grants.environment).
    #[serde(default)]
    environment: Option<String>,
    /// What stands before the variable's value, such as "Bearer ".
    #[serde(default)]
    prefix: String,
}

fn usual_pointer() -> String {
    "/value".to_owned()
}

// === impl Header ===

impl Header {
    pub(crate) fn check(&self) -> Result<(), String> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if self.name.is_empty() || !self.name.bytes().all(token) {
            return Err(format!("{:?} is no name of a header", self.name));
        }
        match (&self.value, &self.environment) {
            (Some(_), None) if self.prefix.is_empty() => Ok(()),
            (None, Some(_)) => Ok(()),
            (Some(_), None) => Err("prefix goes with environment only".to_owned()),
            _ => Err("one of value and environment must be set".to_owned()),
        }
    }

    /// Its value, or why it has none.
    pub(crate) fn value(&self, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        match &self.environment {
            None => Ok(self.value.clone().unwrap_or_default()),
            Some(name) => match variable(name) {
                Some(value) => Ok([&self.prefix, value.trim_end()].concat()),
                None => Err(format!("variable {name} is not there for header {} (grants.environment)", self.name)),
            },
        }
    }
}
