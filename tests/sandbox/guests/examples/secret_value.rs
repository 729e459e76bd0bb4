//! A well-behaved guest: sets the variable `SECRET` to the secret value in its settings.
//!
//! The value, a canary in most tests, may appear only in the pod; `bytes` is for a value that is
//! not UTF-8.

use ampoule_plugin_sdk::prelude::*;
use serde::Deserialize;

struct SecretValue(Settings);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    value: String,
    bytes: Option<Vec<u8>>,
}

impl Injector for SecretValue {
    type Settings = Settings;
    const NAME: &'static str = "secret-value";
    const VERSION: &'static str = "1.0.0";
    const MOUNTS: &'static [MountRequirement] = &[MountRequirement::Any, MountRequirement::EnvVar];
    const SETTINGS_SCHEMA: &'static str =
        r#"{"properties": {"value": {"type": "string"}, "bytes": {"type": "array"}}}"#;

    fn new(settings: Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self(settings))
    }

    fn inject(&self, _request: &SecretRequest, _pod: &PodView) -> Result<Vec<Edit>, InjectionError> {
        let Settings { value, bytes } = &self.0;
        let bytes = bytes.clone().unwrap_or_else(|| value.as_bytes().to_vec());
        Ok(vec![Edit::set_env("SECRET", EnvSource::secret_value(bytes))])
    }
}

ampoule_test_guests::guest!(SecretValue);
