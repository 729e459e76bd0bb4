//! Panics with the message `the reason is here` in the function that its settings name: `new`,
//! `inject` (the default), `fetch` or `check`.
//!
//! The message and its location become a line of the host's log, before the trap.

use ampoule_plugin_sdk::prelude::*;
use serde::Deserialize;

struct Panics(Function);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    function: Function,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Function {
    New,
    #[default]
    Inject,
    Fetch,
    Check,
}

impl Function {
    fn panic_in(self, function: Self) {
        assert!(self != function, "the reason is here");
    }
}

impl Injector for Panics {
    type Settings = Settings;
    const NAME: &'static str = "panics";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(settings: Settings, _conventions: &Conventions) -> Result<Self, String> {
        settings.function.panic_in(Function::New);
        Ok(Self(settings.function))
    }

    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        self.0.panic_in(Function::Inject);
        Ok(vec![Edit::set_env("CALM", EnvSource::promise(&request.key))])
    }

    fn fetch(&self, promise: &str) -> Result<FetchedValue, InjectionError> {
        self.0.panic_in(Function::Fetch);
        Ok(FetchedValue::new(promise))
    }

    fn check(&self) -> Result<(), String> {
        self.0.panic_in(Function::Check);
        Ok(())
    }
}

ampoule_test_guests::guest!(Panics);
