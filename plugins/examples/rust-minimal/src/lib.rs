//! A secret backend in Rust: sets an environment variable from a Kubernetes Secret with a name
//! prefix.
//!
//! `wit/types.wit` documents every record and edit.

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

/// Set by `configure`, read by `inject`.
struct Plugin {
    secret_prefix: String,
    env_prefix: String,
}

thread_local! {
    // The host drops an instance after one pod.
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
        for (key, value) in settings.as_object().ok_or("settings must be a JSON object")? {
            match (key.as_str(), value) {
                ("secretPrefix", Value::String(prefix)) => secret_prefix.clone_from(prefix),
                ("secretPrefix", _) => return Err("secretPrefix: must be a string".into()),
                (other, _) => return Err(format!("{other}: unknown setting, expected secretPrefix")),
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
            return Err(InjectionError::Unsupported("files are not supported, only environment variables".into()));
        }
        PLUGIN.with(|cell| {
            let plugin = cell.get().ok_or_else(|| InjectionError::Internal("inject was called before configure".into()))?;
            let default = || format!("{}{}", plugin.env_prefix, request.key.to_uppercase());
            let secret = format!("{}{}", plugin.secret_prefix, request.group);
            // For the plugin's author. Never log the value of a secret.
            log(Level::Debug, &format!("sets a variable from Secret {secret}"));
            Ok(vec![Edit::SetEnv(EnvVar {
                name: request.env_var.unwrap_or_else(default),
                source: EnvSource::SecretKey(SecretKeyRef { name: secret, key: request.key, optional: false }),
            })])
        })
    }
}
