//! Never answers: `inject` logs a line and then loops endlessly.
//!
//! The host stops it at its deadline. The line tells a test that the loop is running.

use ampoule_plugin_sdk::prelude::*;

struct EndlessLoop;

impl Injector for EndlessLoop {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "endless-loop";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        log::info("the loop begins");
        loop {
            std::hint::spin_loop();
        }
    }
}

ampoule_test_guests::guest!(EndlessLoop);
