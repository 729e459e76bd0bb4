//! Sets the variable `COUNT` to the number of admissions since its cache is empty.
//!
//! Without the grant, it is always 1. The settings give the number of bytes of the entry and its
//! lifetime in seconds.

use ampoule_plugin_sdk::{cache, prelude::*};
use serde::Deserialize;

struct Caches(Settings);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    size: usize,
    ttl: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { size: 8, ttl: 60 }
    }
}

impl Injector for Caches {
    type Settings = Settings;
    const NAME: &'static str = "caches";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(settings: Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self(settings))
    }

    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let Settings { size, ttl } = self.0;
        let last = cache::get(&request.group).and_then(|entry| String::from_utf8(entry).ok()?.trim().parse().ok());
        let count = last.unwrap_or(0_u32) + 1;
        cache::set(&request.group, format!("{count:size$}").as_bytes(), ttl);
        Ok(vec![Edit::set_env("COUNT", EnvSource::literal(count.to_string()))])
    }
}

ampoule_test_guests::guest!(Caches);
