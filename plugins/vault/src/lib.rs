//! The injector `vault`: secrets of HashiCorp Vault, by the annotations that Vault's own injector reads after this one.
//!
//! The group is the secret's path in Vault, the key one of its keys; the group's version names the secrets engine (`kv1`, `kv2`,
//! `db`). The file is named by group and key, their case kept. After `flyte-pod-webhook` (flyte-behaviour section 4.6), but
//! for the annotations' suffix, which is derived from the request and so the same in a second review.

use std::collections::BTreeMap;

use ampoule_plugin_sdk::{
    names::{env_name, path_within},
    prelude::*,
};
use serde::Deserialize;

mod kv_version;
mod template;

pub use self::kv_version::KvVersion;

/// The plugin.
#[derive(Debug)]
pub struct Vault {
    settings: Settings,
    directory: String,
    name: &'static str,
}

/// What stands under `settings` in the webhook's configuration; every key may be left out.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    /// The role in Vault that the pod's service account takes.
    role: String,
    /// Version of the KV secrets engine that a request means whose group version is none of `kv1`, `kv2` and `db`.
    kv_version: KvVersion,
    /// Annotations for every pod that gets a secret from Vault. They go before what this plugin sets itself, and the pod's own
    /// before them.
    annotations: BTreeMap<String, String>,
    /// Give the variable that a request for a file names the path of that file, which Flyte's webhook does not do.
    path_in_env_var: bool,
}

ampoule_plugin_sdk::export!(Vault);

/// What the keys of Vault's annotations begin with.
const VAULT: &str = "vault.hashicorp.com/";

/// Annotations that no plugin may set, as the contract says of `set-annotation`.
const RESERVED: [&str; 2] = ["flyte.secrets/", "ampoule.dev/"];

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            role: "flyte".to_owned(),
            kv_version: KvVersion::V2,
            annotations: BTreeMap::new(),
            path_in_env_var: false,
        }
    }
}

// === impl Vault ===

impl Injector for Vault {
    type Settings = Settings;
    const NAME: &'static str = "vault";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const MOUNTS: &'static [MountRequirement] = &[MountRequirement::Any, MountRequirement::File];
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");

    fn new(settings: Settings, conventions: &Conventions) -> Result<Self, String> {
        let reserved = |key: &&String| key.is_empty() || RESERVED.iter().any(|reserved| key.starts_with(reserved));
        if let Some(key) = settings.annotations.keys().find(reserved) {
            return Err(format!("annotations: {key:?} is no annotation that a plugin may set"));
        }
        // Flyte 2 writes it small where it complains.
        let name = if conventions.profile == "flyte-v1" { "Vault" } else { "vault" };
        Ok(Self { settings, directory: conventions.mount_directory.trim_end_matches('/').to_owned(), name })
    }

    fn inject(&self, request: &SecretRequest, _pod: &PodView) -> Result<Vec<Edit>, InjectionError> {
        let SecretRequest { group, group_version: _, key, mount, env_var } = request;
        if group.is_empty() || key.is_empty() {
            let text =
                format!("{} Secrets Webhook requires both key and group to be set. Secret: [{request}]", self.name);
            return Err(InjectionError::invalid_request(text));
        }
        if *mount == MountRequirement::EnvVar {
            let text = "Env_Var is not a supported mount requirement for Vault Secret Manager";
            return Err(InjectionError::unsupported(text));
        }
        let file = [path_within("group", group)?, path_within("key", key)?].join("/");
        let mut edits = vec![
            Edit::set_env("FLYTE_SECRETS_DEFAULT_DIR", EnvSource::literal(&self.directory)),
            Edit::set_env("FLYTE_SECRETS_FILE_PREFIX", EnvSource::literal("")),
        ];
        if let (Some(name), true) = (env_var, self.settings.path_in_env_var) {
            edits.push(Edit::set_env(env_name(name)?, EnvSource::literal(format!("{}/{file}", self.directory))));
        }
        // The first to set an annotation wins, and the pod before all.
        let Settings { role, annotations, .. } = &self.settings;
        edits.extend(annotations.iter().map(|(key, value)| Edit::default_annotation(key, value)));
        let common = [
            ("agent-inject", "true"),
            ("secret-volume-path", &self.directory),
            ("role", role),
            ("agent-pre-populate-only", "true"),
        ];
        edits.extend(common.map(|(key, value)| Edit::default_annotation(format!("{VAULT}{key}"), value)));
        edits.extend(self.secret(request)?);
        Ok(edits)
    }
}

impl Vault {
    /// The annotations of this one secret: where it is in Vault, which file it becomes, and how to find the key in it.
    fn secret(&self, request: &SecretRequest) -> Result<impl Iterator<Item = Edit>, InjectionError> {
        let SecretRequest { group, group_version, key, .. } = request;
        // Neither group nor key has a NUL: they were parts of a path.
        let id = format!("{:x}", md5::compute([group, "\0", group_version, "\0", key].concat()));
        let data = match group_version.as_str() {
            "kv1" => Some(KvVersion::V1),
            "kv2" => Some(KvVersion::V2),
            // The database engine makes user and password together: the file is what Vault's default template makes of both.
            "db" => None,
            _ => Some(self.settings.kv_version),
        };
        let template = data.map(|version| template::of(group, version, key)).transpose()?;
        let annotations =
            [("secret", Some(group.clone())), ("file", Some(format!("{group}/{key}"))), ("template", template)];
        Ok(annotations.into_iter().filter_map(move |(what, value)| {
            Some(Edit::default_annotation(format!("{VAULT}agent-inject-{what}-{id}"), value?))
        }))
    }
}

#[cfg(test)]
mod tests;
