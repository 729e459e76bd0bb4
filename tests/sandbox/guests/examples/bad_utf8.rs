//! Answers with a string that is not UTF-8.
//!
//! The host reports a trap: the answer violates the rules of the component model.

use ampoule_plugin_sdk::prelude::*;

struct BadUtf8;

impl Injector for BadUtf8 {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "bad-utf8";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        #[allow(unsafe_code, reason = "the purpose of this guest")]
        let text = unsafe { String::from_utf8_unchecked(vec![b'a', 0xff]) };
        Ok(vec![Edit::set_env("TEXT", EnvSource::literal(text))])
    }
}

ampoule_test_guests::guest!(BadUtf8);
