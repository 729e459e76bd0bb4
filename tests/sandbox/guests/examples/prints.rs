//! Writes lines to standard output and standard error, as `println!` and `eprintln!` of a language
//! with WASI do.
//!
//! Rust's own macros write nothing on `wasm32-unknown-unknown`, so the guest calls WASI. The last
//! line has no end.

use ampoule_plugin_sdk::prelude::*;

struct Prints;

impl Injector for Prints {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "prints";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        print("first line of stdout\nsecond ");
        print("line of stdout\n");
        print_error(&format!("line of stderr about {request}\n"));
        print("line without an end");
        Ok(vec![Edit::set_env("PRINTED", EnvSource::literal("yes"))])
    }
}

fn print(text: &str) {
    let _ = wasip2::cli::stdout::get_stdout().blocking_write_and_flush(text.as_bytes());
}

fn print_error(text: &str) {
    let _ = wasip2::cli::stderr::get_stderr().blocking_write_and_flush(text.as_bytes());
}

ampoule_test_guests::guest!(Prints);
