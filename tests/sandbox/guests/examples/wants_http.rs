//! Imports `wasi:http`, and calls a host for every request.
//! Where it was not granted any, the host refuses it at load, by the import's name.

use ampoule_plugin_sdk::{http, prelude::*};

struct WantsHttp;

impl Injector for WantsHttp {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "wants-http";
    const VERSION: &'static str = "1.0.0";
    const MOUNTS: &'static [MountRequirement] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, request: &SecretRequest, _pod: &PodView) -> Result<Vec<Edit>, InjectionError> {
        let answer = http::get(format!("https://example.com/{request}")).send()?;
        Ok(vec![Edit::set_env("ANSWER", EnvSource::literal(answer.status.to_string()))])
    }
}

ampoule_test_guests::guest!(WantsHttp);
