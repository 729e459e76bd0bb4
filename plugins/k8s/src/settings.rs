//! [`Settings`] of the injector. Every key is optional; most defaults are those of the profile.
//! The committed schema is derived from them.

use serde::Deserialize;

/// The settings of the injector (`injectors[].settings`). Every key is optional.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    /// Prefix of the names of environment variables. Default: `conventions.envPrefix` of the
    /// webhook.
    pub(crate) env_prefix: Option<String>,
    /// Folder that contains one mounted folder per group. Default: `conventions.mountDirectory` of
    /// the webhook.
    pub(crate) mount_directory: Option<String>,
    /// Reject a request without a group. If false, the group defaults to the MD5 hash of the key,
    /// in hexadecimal. Default: false in the profile `flyte-v2`, otherwise true.
    pub(crate) require_group: Option<bool>,
    /// Start the pod even if the Secret or the key is missing. Default: false in the profile
    /// `plain`, otherwise true.
    pub(crate) optional: Option<bool>,
}
