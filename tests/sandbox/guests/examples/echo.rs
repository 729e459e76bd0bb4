//! A well-behaved guest: sets the variable `ECHO` to the request's key and the option `suffix`.
//!
//! Settings can rename the variable; a group with the name of an injection error (`denied`, …) gets
//! that error, and the group `busy` an unavailable one with a time for a retry.

use ampoule_plugin_sdk::prelude::*;
use serde::Deserialize;

struct Echo {
    variable: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    variable: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { variable: "ECHO".to_owned() }
    }
}

impl Injector for Echo {
    type Settings = Settings;
    const NAME: &'static str = "echo";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar];
    const OPTIONS: &'static [&'static str] = &["suffix"];
    const SETTINGS_SCHEMA: &'static str = r#"{"properties": {"variable": {"type": "string", "default": "ECHO"}}}"#;

    fn new(settings: Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self { variable: settings.variable })
    }

    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let text = format!("echo answers so for {request}");
        Err(match request.group.as_str() {
            "not-found" => InjectionError::not_found(text),
            "unsupported" => InjectionError::unsupported(text),
            "invalid-request" => InjectionError::invalid_request(text),
            "denied" => InjectionError::denied(text),
            "unavailable" => InjectionError::unavailable(text),
            "busy" => InjectionError::unavailable(text).retry_after(30),
            "internal" => InjectionError::internal(text),
            _ => {
                let suffix = request.options.get("suffix").map_or("", String::as_str);
                let value = [&request.key, suffix].concat();
                return Ok(vec![Edit::set_env(&self.variable, EnvSource::literal(value))]);
            }
        })
    }
}

ampoule_test_guests::guest!(Echo);
