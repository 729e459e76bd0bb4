//! A secret backend in Rust: sets an environment variable from a Kubernetes Secret with a name
//! prefix.

use ampoule_plugin_sdk::{names::env_name, prelude::*};
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Settings {
    secret_prefix: String,
}

struct Example {
    secret_prefix: String,
    env_prefix: String,
}

ampoule_plugin_sdk::export!(Example);

impl Injector for Example {
    type Settings = Settings;
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar];
    const SETTINGS_SCHEMA: &'static str = r#"{
        "type": "object",
        "properties": { "secretPrefix": { "type": "string" } },
        "additionalProperties": false
    }"#;

    fn new(settings: Settings, conventions: &Conventions) -> Result<Self, String> {
        Ok(Self { secret_prefix: settings.secret_prefix, env_prefix: conventions.env_prefix.clone() })
    }

    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let SecretRequest { group, key, .. } = request;
        if group.is_empty() || key.is_empty() {
            return Err(InjectionError::invalid_request("group and key must both be set"));
        }
        if request.delivery == Delivery::File {
            return Err(InjectionError::unsupported("files are not supported, only environment variables"));
        }
        let secret = format!("{}{group}", self.secret_prefix);
        // For the plugin's author. Never log the value of a secret.
        log::debug(&format!("sets a variable from Secret {secret}"));
        let default = || format!("{}{}", self.env_prefix, key.to_uppercase());
        let name = request.env_var.clone().unwrap_or_else(default);
        Ok(vec![Edit::set_env(env_name(&name)?, SecretKeyRef::new(secret, key))])
    }
}

#[cfg(test)]
mod tests {
    use ampoule_plugin_sdk::testing::Harness;

    use super::*;

    #[test]
    fn a_key_becomes_a_variable_from_the_secret_of_its_group() {
        let plugin = Harness::<Example>::new().settings(r#"{ "secretPrefix": "team-a-" }"#);
        let expected = Edit::set_env("_FSEC_PASSWORD", SecretKeyRef::new("team-a-database", "password"));
        assert_eq!(plugin.inject(&SecretRequest::new("database", "password")), Ok(vec![expected]));
    }

    #[test]
    fn a_file_is_not_supported() {
        let answer = Harness::<Example>::new().inject(&SecretRequest::new("database", "password").as_file());
        assert!(matches!(answer, Err(InjectionError::Unsupported(_))));
    }
}
