//! [`Settings`] of the injector: the role, the version of the secrets engine, and annotations.
//! Every key is optional.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::KvVersion;

/// The settings of the injector (`injectors[].settings`). Every key is optional.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    /// Vault role for the pod's service account. Default: `flyte` in the profiles of Flyte. In the
    /// profile `plain`, the pod's own annotation or `annotations` can state it.
    pub(crate) role: Option<String>,
    /// Version of the KV secrets engine, used if the request's group version is not `kv1`, `kv2`
    /// or `db`.
    pub(crate) kv_version: KvVersion,
    /// Annotations for every pod that gets a secret from Vault. They take precedence over the
    /// annotations of this plugin; the pod's own annotations take precedence over both.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Set the environment variable of a request for a file to the path of that file. Flyte's
    /// webhook does not. Default: true in the profile `plain`, otherwise false.
    pub(crate) path_in_env_var: Option<bool>,
}

// === impl Settings ===

impl Settings {
    /// The role of Flyte's pods.
    pub(crate) const FLYTE_ROLE: &'static str = "flyte";
}

impl Default for Settings {
    fn default() -> Self {
        Self { role: None, kv_version: KvVersion::V2, annotations: BTreeMap::new(), path_in_env_var: None }
    }
}
