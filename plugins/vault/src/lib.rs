//! The injector `vault`: sets the annotations that Vault's own injector reads afterwards.
//!
//! The group is the secret's path in Vault, and the key is one of its keys. The group version
//! selects the secrets engine (`kv1`, `kv2`, `db`). Group and key form the path of the file; their
//! case is kept. The behaviour follows `flyte-pod-webhook` (flyte-behaviour section 4.6), except
//! for the suffix of the annotations: it is derived from the request, so that a second review
//! produces the same annotations.

use ampoule_plugin_sdk::{
    names::{env_name, path_within},
    prelude::*,
};

mod kv_version;
mod settings;
mod template;

pub use self::{kv_version::KvVersion, settings::Settings};

/// The plugin.
#[derive(Debug)]
pub struct Vault {
    settings: Settings,
    directory: String,
    name: &'static str,
    path_in_env_var: bool,
    /// Whether the profile is not one of Flyte's.
    is_plain: bool,
}

ampoule_plugin_sdk::export!(Vault);

/// The answer to a request for a variable, without Flyte.
const FILES_ONLY: &str = "vault delivers files only: set path or file: true, or ask the administrator for \
                          builtin:vault-kv, which delivers variables as well";

/// The warning about the plugin in a configuration without Flyte.
const MADE_FOR_FLYTE: &str = "vault follows Flyte's webhook: it delivers files only, by annotations for the injector of \
                              Vault's agent, which must be installed; without Flyte, use builtin:vault-kv";

/// Prefix of the keys of Vault's annotations.
const VAULT_PREFIX: &str = "vault.hashicorp.com/";

/// Prefixes of annotations that plugins must not set; see `annotation` in the contract.
const RESERVED_PREFIXES: [&str; 2] = ["flyte.secrets/", "ampoule.dev/"];

// === impl Vault ===

impl Injector for Vault {
    type Settings = Settings;
    const NAME: &'static str = "vault";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DELIVERIES: &'static [Delivery] = &[Delivery::File];
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");

    fn new(mut settings: Settings, conventions: &Conventions) -> Result<Self, String> {
        let is_reserved =
            |key: &&String| key.is_empty() || RESERVED_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
        if let Some(key) = settings.annotations.keys().find(is_reserved) {
            return Err(format!("annotations: {key:?} is not an annotation that a plugin may set"));
        }
        // Messages of Flyte 2 use the name in lower case.
        let name = if conventions.profile == "flyte-v1" { "Vault" } else { "vault" };
        let is_plain = conventions.profile == "plain";
        // Other files are below the mount directory, and no mount can be below a read-only one.
        let folder = if is_plain { "/vault" } else { "" };
        let directory = [conventions.mount_directory.trim_end_matches('/'), folder].concat();
        if !is_plain {
            settings.role.get_or_insert_with(|| Settings::FLYTE_ROLE.to_owned());
        }
        Ok(Self { path_in_env_var: settings.path_in_env_var.unwrap_or(is_plain), settings, directory, name, is_plain })
    }

    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let SecretRequest { group, key, env_var, .. } = request;
        if group.is_empty() || key.is_empty() {
            let text = match self.is_plain {
                true => "group and key must be set, and not empty".to_owned(),
                false => {
                    format!("{} Secrets Webhook requires both key and group to be set. Secret: [{request}]", self.name)
                }
            };
            return Err(InjectionError::invalid_request(text));
        }
        if request.delivery == Delivery::EnvVar {
            let text = match self.is_plain {
                true => FILES_ONLY,
                false => "Env_Var is not a supported mount requirement for Vault Secret Manager",
            };
            return Err(InjectionError::unsupported(text));
        }
        let file = [path_within("group", group)?, path_within("key", key)?].join("/");
        let mut edits = vec![
            Edit::set_env("FLYTE_SECRETS_DEFAULT_DIR", EnvSource::literal(&self.directory)),
            Edit::set_env("FLYTE_SECRETS_FILE_PREFIX", EnvSource::literal("")),
        ];
        if let (Some(name), true) = (env_var, self.path_in_env_var) {
            edits.push(Edit::set_env(env_name(name)?, EnvSource::literal(format!("{}/{file}", self.directory))));
        }
        // The first edit for an annotation wins, and the pod's own annotation wins over all edits.
        let Settings { role, annotations, .. } = &self.settings;
        edits.extend(annotations.iter().map(|(key, value)| Edit::default_annotation(key, value)));
        let common_annotations = [
            ("agent-inject", Some("true")),
            ("secret-volume-path", Some(self.directory.as_str())),
            ("role", role.as_deref()),
            ("agent-pre-populate-only", Some("true")),
        ];
        edits.extend(
            common_annotations
                .into_iter()
                .filter_map(|(key, value)| Some(Edit::default_annotation(format!("{VAULT_PREFIX}{key}"), value?))),
        );
        edits.extend(self.secret_annotations(request)?);
        Ok(edits)
    }

    fn check(&self) -> Result<(), String> {
        if self.is_plain { Err(MADE_FOR_FLYTE.to_owned()) } else { Ok(()) }
    }
}

impl Vault {
    /// Returns the annotations of one secret: its path in Vault, its file, and the template that
    /// selects the key.
    fn secret_annotations(&self, request: &SecretRequest) -> Result<impl Iterator<Item = Edit>, InjectionError> {
        let SecretRequest { group, group_version, key, .. } = request;
        // Neither group nor key contains NUL: `path_within` accepted them.
        let id = format!("{:x}", md5::compute([group, "\0", group_version, "\0", key].concat()));
        let kv_version = match group_version.as_str() {
            "kv1" => Some(KvVersion::V1),
            "kv2" => Some(KvVersion::V2),
            // The database engine creates user and password together, so the file has the content
            // of Vault's default template.
            "db" => None,
            _ => Some(self.settings.kv_version),
        };
        let template = kv_version.map(|version| template::for_key(group, version, key)).transpose()?;
        let annotations =
            [("secret", Some(group.clone())), ("file", Some(format!("{group}/{key}"))), ("template", template)];
        Ok(annotations.into_iter().filter_map(move |(what, value)| {
            Some(Edit::default_annotation(format!("{VAULT_PREFIX}agent-inject-{what}-{id}"), value?))
        }))
    }
}

#[cfg(test)]
mod tests;
