//! Logs a million lines of two kibibytes before it answers.
//!
//! The host truncates each line, keeps the first few, and stops a plugin that continues.

use ampoule_plugin_sdk::prelude::*;

struct LogFlood;

impl Injector for LogFlood {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "log-flood";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let line = "x".repeat(2048);
        for _ in 0..1_000_000 {
            log::info(&line);
        }
        Ok(vec![Edit::set_env("LOGGED", EnvSource::literal("yes"))])
    }
}

ampoule_test_guests::guest!(LogFlood);
