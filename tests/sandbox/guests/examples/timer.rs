//! A guest that imports the interface with timers. It sets a variable to the time of the monotonic
//! clock, which does not advance without a grant.

use ampoule_plugin_sdk::prelude::*;

struct Timer;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated")]
mod host {
    wit_bindgen::generate!({
        inline: r"
            package ampoule:timer;

            world timer {
                import wasi:clocks/monotonic-clock@0.2.3;
            }

            package wasi:clocks@0.2.3 {
                interface monotonic-clock {
                    type instant = u64;
                    now: func() -> instant;
                }
            }
        ",
        generate_all,
    });
}

impl Injector for Timer {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "timer";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let nanoseconds = host::wasi::clocks::monotonic_clock::now();
        Ok(vec![Edit::set_env("NANOSECONDS", EnvSource::literal(nanoseconds.to_string()))])
    }
}

ampoule_test_guests::guest!(Timer);
