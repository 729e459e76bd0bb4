//! Section `audit`: where the webhook records which pod got which secret.
//!
//! The records name secrets and never contain a value.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the webhook records which pod got which secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Whether the log has a line with target `audit` for each secret.
    pub log: bool,
    /// Whether the API server's audit events have an annotation `secrets` of this webhook.
    pub annotations: bool,
}

// === impl AuditConfig ===

impl Default for AuditConfig {
    /// Everything: an event that was not recorded cannot be looked up.
    fn default() -> Self {
        Self { log: true, annotations: true }
    }
}
