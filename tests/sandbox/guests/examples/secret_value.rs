//! A well-behaved guest: sets the variable `SECRET`, or writes a file, from a promise, and fetches
//! the value in its settings.
//!
//! The value, a canary in most tests, may appear only in the pod; `bytes` is for a value that is
//! not UTF-8. Without both, it fetches the promise's text: the request.

use ampoule_plugin_sdk::prelude::*;
use serde::Deserialize;

struct SecretValue(Settings);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    value: Option<String>,
    bytes: Option<Vec<u8>>,
}

impl Injector for SecretValue {
    type Settings = Settings;
    const NAME: &'static str = "secret-value";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar];
    const SETTINGS_SCHEMA: &'static str =
        r#"{"properties": {"value": {"type": "string"}, "bytes": {"type": "array"}}}"#;

    fn new(settings: Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self(settings))
    }

    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let promise = request.to_string();
        Ok(vec![match request.delivery {
            Delivery::File => {
                Edit::write_file(["/etc/secrets/", &request.group].concat(), FileSource::promise(promise))
            }
            Delivery::Any | Delivery::EnvVar => Edit::set_env("SECRET", EnvSource::promise(promise)),
        }])
    }

    fn fetch(&self, promise: &str) -> Result<FetchedValue, InjectionError> {
        let Settings { value, bytes } = &self.0;
        let text = value.as_deref().unwrap_or(promise).as_bytes();
        Ok(FetchedValue::new(bytes.as_deref().unwrap_or(text)))
    }
}

ampoule_test_guests::guest!(SecretValue);
