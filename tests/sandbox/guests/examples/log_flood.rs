//! Logs a million lines of two kibibytes before it answers; settings can lower the number.
//!
//! The host truncates each line, keeps the first few, and stops a plugin that continues.

use ampoule_plugin_sdk::prelude::*;
use serde::Deserialize;

struct LogFlood {
    lines: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    lines: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lines: 1_000_000 }
    }
}

impl Injector for LogFlood {
    type Settings = Settings;
    const NAME: &'static str = "log-flood";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = r#"{"properties": {"lines": {"type": "integer", "default": 1000000}}}"#;

    fn new(settings: Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self { lines: settings.lines })
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let line = "x".repeat(2048);
        for _ in 0..self.lines {
            log::info(&line);
        }
        Ok(vec![Edit::set_env("LOGGED", EnvSource::literal("yes"))])
    }
}

ampoule_test_guests::guest!(LogFlood);
