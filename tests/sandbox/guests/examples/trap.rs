//! Panics with the request in the panic message; but not in the trial at load, unless its settings
//! are `{"always": true}`.
//!
//! The host reports a trap, and repeats nothing of the message.

use ampoule_plugin_sdk::prelude::*;

struct Trap;

impl Injector for Trap {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "trap";
    const VERSION: &'static str = "1.0.0";
    const MOUNTS: &'static [MountRequirement] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, request: &SecretRequest, _pod: &PodView) -> Result<Vec<Edit>, InjectionError> {
        if request.group == "ampoule.dev" {
            return Err(InjectionError::not_found("so it is loaded"));
        }
        panic!("no secret for {request}")
    }
}

ampoule_test_guests::guest!(Trap);
