//! Sets the variable `COUNT` to the number of requests to this instance, and `SEEN` to the previous
//! request.
//!
//! In a fresh instance these are always 1 and empty: no memory survives from one pod to another.

use std::sync::Mutex;

use ampoule_plugin_sdk::prelude::*;

struct Counter;

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Injector for Counter {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "counter";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let mut seen = SEEN.lock().map_err(|error| InjectionError::internal(error.to_string()))?;
        let before = seen.join(",");
        seen.push(request.to_string());
        Ok(vec![
            Edit::set_env("COUNT", EnvSource::literal(seen.len().to_string())),
            Edit::set_env("SEEN", EnvSource::literal(before)),
        ])
    }
}

ampoule_test_guests::guest!(Counter);
