//! A secret backend in Rust: a variable from a Kubernetes Secret whose name has a prefix.
//!
//! `wit/types.wit` says what every record and edit means.

use std::cell::OnceCell;

use ampoule::injector::{
    log::{Level, log},
    types::{
        Conventions, Edit, EnvSource, EnvVar, InjectionError, MountRequirement, PluginInfo, PodView, SecretKeyRef,
        SecretRequest,
    },
};
use exports::ampoule::injector::injector::Guest;
use serde_json::Value;

wit_bindgen::generate!({ path: "wit", world: "plugin" });

/// What `configure` left for `inject`.
struct Plugin {
    secret_prefix: String,
    env_prefix: String,
}

thread_local! {
    // An instance answers one pod, and is gone after it.
    static PLUGIN: OnceCell<Plugin> = const { OnceCell::new() };
}

struct Component;
export!(Component);

impl Guest for Component {
    fn describe() -> PluginInfo {
        PluginInfo {
            name: "example-plugin".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            mounts: vec![MountRequirement::EnvVar],
            settings_schema: r#"{
                "type": "object",
                "properties": { "secretPrefix": { "type": "string" } },
                "additionalProperties": false
            }"#
            .into(),
        }
    }

    fn configure(settings: String, conventions: Conventions) -> Result<(), String> {
        let mut secret_prefix = String::new();
        let settings: Value = serde_json::from_str(&settings).map_err(|error| error.to_string())?;
        for (key, value) in settings.as_object().ok_or("must be a mapping")? {
            match (key.as_str(), value) {
                ("secretPrefix", Value::String(prefix)) => secret_prefix.clone_from(prefix),
                ("secretPrefix", _) => return Err("secretPrefix: must be text".into()),
                (other, _) => return Err(format!("{other}: is no setting; there is secretPrefix")),
            }
        }
        let plugin = Plugin { secret_prefix, env_prefix: conventions.env_prefix };
        PLUGIN.with(|cell| cell.set(plugin)).map_err(|_| "configure was called twice".into())
    }

    fn inject(request: SecretRequest, _pod: PodView) -> Result<Vec<Edit>, InjectionError> {
        if request.group.is_empty() || request.key.is_empty() {
            return Err(InjectionError::InvalidRequest("group and key must both be set".into()));
        }
        if request.mount == MountRequirement::File {
            return Err(InjectionError::Unsupported("only environment variables, no files".into()));
        }
        PLUGIN.with(|cell| {
            let plugin = cell.get().ok_or_else(|| InjectionError::Internal("inject came before configure".into()))?;
            let default = || format!("{}{}", plugin.env_prefix, request.key.to_uppercase());
            let secret = format!("{}{}", plugin.secret_prefix, request.group);
            // For the admin; never a secret's value.
            log(Level::Debug, &format!("a variable from Secret {secret}"));
            Ok(vec![Edit::SetEnv(EnvVar {
                name: request.env_var.unwrap_or_else(default),
                source: EnvSource::SecretKey(SecretKeyRef { name: secret, key: request.key, optional: false }),
            })])
        })
    }
}
