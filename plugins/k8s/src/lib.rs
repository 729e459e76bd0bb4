//! The injector `k8s`: keys of Kubernetes Secrets in the pod's own namespace, by reference.
//!
//! It reads no Secret; the kubelet does, when the pod starts. The group of a request is the name of
//! the Secret, and the key is the key in the Secret. In the profiles of Flyte, names and messages
//! are those of `flyte-pod-webhook`.

use ampoule_plugin_sdk::{
    InjectionError::InvalidRequest,
    names::{env_name, path_segment},
    prelude::*,
};

mod kubernetes_names;
mod settings;

use self::kubernetes_names::volume_name;
pub use self::settings::Settings;

/// The plugin, with the webhook's conventions as defaults for absent settings.
#[derive(Debug)]
pub struct K8s {
    env_prefix: String,
    mount_directory: String,
    require_group: bool,
    optional: bool,
    /// Whether answers are Flyte's: volumes for files, paths in lower case, and a Secret of any
    /// name, which Kubernetes may not accept.
    follows_flyte: bool,
}

ampoule_plugin_sdk::export!(K8s);

// === impl K8s ===

impl Injector for K8s {
    type Settings = Settings;
    const NAME: &'static str = "k8s";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar, Delivery::File];
    // It only writes references.
    const SERVES_ALL: bool = true;
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");

    fn new(settings: Settings, conventions: &Conventions) -> Result<Self, String> {
        let mount_directory = settings.mount_directory.unwrap_or_else(|| conventions.mount_directory.clone());
        if !mount_directory.starts_with('/') || mount_directory.contains(':') {
            return Err(format!("mountDirectory: must be an absolute path without `:`, not `{mount_directory}`"));
        }
        Ok(Self {
            env_prefix: settings.env_prefix.unwrap_or_else(|| conventions.env_prefix.clone()),
            mount_directory: mount_directory.trim_end_matches('/').to_owned(),
            require_group: settings.require_group.unwrap_or(conventions.profile != "flyte-v2"),
            optional: settings.optional.unwrap_or(conventions.profile != "plain"),
            follows_flyte: conventions.profile != "plain",
        })
    }

    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        if !self.follows_flyte {
            self.check_names(request)?;
        }
        if request.all_keys {
            return self.as_folder(request);
        }
        let group = self.group(request)?;
        match request.delivery {
            Delivery::EnvVar => self.as_env_var(&group, request),
            Delivery::Any | Delivery::File if self.follows_flyte => self.as_flyte_file(&group, request),
            Delivery::Any | Delivery::File => self.as_file(&group, request),
        }
    }
}

impl K8s {
    /// Refuses what Kubernetes would refuse later, when the pod is created or starts.
    fn check_names(&self, request: &SecretRequest) -> Result<(), InjectionError> {
        if self.require_group || !request.group.is_empty() {
            kubernetes_names::check_secret(&request.group)?;
        }
        if request.all_keys { Ok(()) } else { kubernetes_names::check_key(&request.key) }
    }

    /// Validates the request, and returns the Secret's name.
    fn group(&self, request: &SecretRequest) -> Result<String, InjectionError> {
        let missing = match (request.group.is_empty(), request.key.is_empty()) {
            (true, _) | (_, true) if self.require_group => "both key and group",
            (_, true) => "key",
            (true, false) => return Ok(format!("{:x}", md5::compute(&request.key))),
            (false, false) => return Ok(request.group.clone()),
        };
        Err(InvalidRequest(format!("k8s Secrets Webhook require {missing} to be set. Secret: [{request}]")))
    }

    /// Mounts all keys. The host gives them the requested form.
    fn as_folder(&self, request: &SecretRequest) -> Result<Vec<Edit>, InjectionError> {
        let folder = path_segment("group", &request.group)?;
        let volume = volume_name(&request.group, &request.group_version);
        Ok(vec![
            Edit::add_volume(&volume, SecretVolume::new(&request.group).optional(self.optional)),
            Edit::mount_volume(VolumeMount::new(&volume, [&self.mount_directory, "/", &folder].concat())),
        ])
    }

    fn as_env_var(&self, group: &str, request: &SecretRequest) -> Result<Vec<Edit>, InjectionError> {
        let name = [&self.env_prefix, group, "_", &request.key].concat().to_ascii_uppercase();
        let mut edits = Vec::with_capacity(3);
        for name in [Some(&name), request.env_var.as_ref()].into_iter().flatten() {
            let key = SecretKeyRef::new(group, &request.key).optional(self.optional);
            edits.push(Edit::set_env(env_name(name)?, key));
        }
        edits.push(Edit::set_env("FLYTE_SECRETS_ENV_PREFIX", EnvSource::literal(&self.env_prefix)));
        Ok(edits)
    }

    fn as_file(&self, group: &str, request: &SecretRequest) -> Result<Vec<Edit>, InjectionError> {
        path_segment("group", group)?;
        path_segment("key", &request.key)?;
        let path = [&self.mount_directory, "/", group, "/", &request.key].concat();
        let key = SecretKeyRef::new(group, &request.key).optional(self.optional);
        let mut edits = vec![Edit::write_file(&path, key)];
        if let Some(name) = &request.env_var {
            edits.push(Edit::set_env(env_name(name)?, EnvSource::literal(path)));
        }
        Ok(edits)
    }

    fn as_flyte_file(&self, group: &str, request: &SecretRequest) -> Result<Vec<Edit>, InjectionError> {
        let (folder, file) = (path_segment("group", group)?, path_segment("key", &request.key)?);
        let folder = [&self.mount_directory, "/", &folder].concat();
        let volume = volume_name(group, &request.group_version);
        let secret = SecretVolume::new(group).item(&request.key, &file).optional(self.optional);
        let mut edits = vec![
            Edit::add_volume(&volume, secret),
            Edit::mount_volume(VolumeMount::new(&volume, &folder)),
            Edit::set_env("FLYTE_SECRETS_DEFAULT_DIR", EnvSource::literal(&self.mount_directory)),
            Edit::set_env("FLYTE_SECRETS_FILE_PREFIX", EnvSource::literal("")),
        ];
        if let Some(name) = &request.env_var {
            edits.push(Edit::set_env(env_name(name)?, EnvSource::literal([&folder, "/", &file].concat())));
        }
        Ok(edits)
    }
}

#[cfg(test)]
mod tests;
