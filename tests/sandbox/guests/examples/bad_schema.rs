//! A settings schema that is not a JSON Schema.
//!
//! The host does not read the schema; `ampoule plugin test` reports it.

use ampoule_plugin_sdk::prelude::*;

struct BadSchema;

impl Injector for BadSchema {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "bad-schema";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = r#"["prefix"]"#;

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        Ok(vec![Edit::set_env("A", EnvSource::literal("x"))])
    }
}

ampoule_test_guests::guest!(BadSchema);
