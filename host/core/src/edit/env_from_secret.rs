//! [`EnvFromSecret`]: every key of a Kubernetes Secret as an environment variable. Only the host
//! makes this edit.

use serde::Serialize;
use serde_json::{Value, json};

/// All keys of a Kubernetes Secret as environment variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvFromSecret {
    /// The start of the names of the variables.
    pub prefix: String,
    /// The name of the Secret.
    pub secret: String,
    /// Whether the container starts without the Secret.
    pub optional: bool,
}

impl EnvFromSecret {
    pub(super) fn to_json(&self) -> Value {
        let mut entry = json!({ "secretRef": { "name": self.secret, "optional": self.optional } });
        if !self.prefix.is_empty() {
            entry["prefix"] = json!(self.prefix);
        }
        entry
    }
}
