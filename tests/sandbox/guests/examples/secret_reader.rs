//! Reads a key of a Kubernetes Secret and sets a variable to it, or to the error.
//!
//! With `decline` it returns the result as an error; with `flood` it reads without end; with
//! `exists` it only asks whether the key exists, and with `first` which of these Secrets is the
//! first that has it, as often as `times` names them.

use ampoule_plugin_sdk::{prelude::*, secrets};
use serde::Deserialize;

struct SecretReader(Settings);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    namespace: String,
    name: String,
    key: String,
    decline: bool,
    flood: bool,
    exists: bool,
    first: Vec<String>,
    times: usize,
}

impl Injector for SecretReader {
    type Settings = Settings;
    const NAME: &'static str = "secret-reader";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(settings: Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self(settings))
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let Settings { namespace, name, key, decline, flood, exists, first, times } = &self.0;
        if !first.is_empty() {
            let keys: Vec<_> = first.iter().map(|name| (name.as_str(), key.as_str())).collect();
            let found = secrets::first_existing(namespace, &keys.repeat(*times));
            return Ok(vec![Edit::set_env("FIRST", EnvSource::literal(format!("{found:?}")))]);
        }
        if *exists {
            let found = secrets::exists(namespace, name, key);
            return Ok(vec![Edit::set_env("EXISTS", EnvSource::literal(format!("{found:?}")))]);
        }
        loop {
            let read = secrets::read(namespace, name, key);
            if !flood {
                let value =
                    read.map_or_else(|error| format!("{error:?}"), |value| String::from_utf8_lossy(&value).into());
                return match decline {
                    true => Err(InjectionError::not_found(value)),
                    false => Ok(vec![Edit::set_env("READ", EnvSource::literal(value))]),
                };
            }
        }
    }
}

ampoule_test_guests::guest!(SecretReader);
