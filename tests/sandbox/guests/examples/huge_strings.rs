//! Answers with two edits of ten mebibytes in total, which fit its memory but no pod.
//!
//! The host stops it at the first edit, by the limit on the data of a call.

use ampoule_plugin_sdk::prelude::*;

struct HugeStrings;

impl Injector for HugeStrings {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "huge-strings";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let half = "x".repeat(5 << 20);
        Ok(vec![
            Edit::set_env("FIRST", EnvSource::literal(half.clone())),
            Edit::set_env("SECOND", EnvSource::literal(half)),
        ])
    }
}

ampoule_test_guests::guest!(HugeStrings);
