//! Panics in `inject` with the request in the panic message.
//!
//! The host reports a trap without the message, which is a line of its log.

use ampoule_plugin_sdk::prelude::*;

struct Trap;

impl Injector for Trap {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "trap";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        panic!("no secret for {request}")
    }
}

ampoule_test_guests::guest!(Trap);
