//! A well-behaved guest that imports WASI 0.2 as many compilers' output does: environment, clock
//! and randomness.
//!
//! It sets one variable from each, so that a test can verify that the host's WASI exists and is
//! empty.

use ampoule_plugin_sdk::prelude::*;

struct WasiUser;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated")]
mod host {
    wit_bindgen::generate!({
        inline: r"
            package ampoule:wasi-user;

            world wasi-user {
                import wasi:cli/environment@0.2.3;
                import wasi:clocks/wall-clock@0.2.3;
                import wasi:random/random@0.2.3;
            }

            package wasi:cli@0.2.3 {
                interface environment {
                    get-environment: func() -> list<tuple<string, string>>;
                }
            }

            package wasi:clocks@0.2.3 {
                interface wall-clock {
                    record datetime { seconds: u64, nanoseconds: u32 }
                    now: func() -> datetime;
                }
            }

            package wasi:random@0.2.3 {
                interface random {
                    get-random-u64: func() -> u64;
                }
            }
        ",
        generate_all,
    });
}

impl Injector for WasiUser {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "wasi-user";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let variables = host::wasi::cli::environment::get_environment();
        let variables: Vec<_> = variables.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
        let seconds = host::wasi::clocks::wall_clock::now().seconds;
        let random = host::wasi::random::random::get_random_u64();
        Ok(vec![
            Edit::set_env("WASI_VARIABLES", EnvSource::literal(variables.join(","))),
            Edit::set_env("WASI_SECONDS", EnvSource::literal(seconds.to_string())),
            Edit::set_env("WASI_RANDOM", EnvSource::literal(random.to_string())),
        ])
    }
}

ampoule_test_guests::guest!(WasiUser);
