//! Never starts: `configure` loops endlessly.
//!
//! The host refuses it at load.

use ampoule_plugin_sdk::prelude::*;

struct EndlessConfigure;

impl Injector for EndlessConfigure {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "endless-configure";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        loop {
            std::hint::spin_loop();
        }
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        Ok(Vec::new())
    }
}

ampoule_test_guests::guest!(EndlessConfigure);
