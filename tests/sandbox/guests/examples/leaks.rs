//! Promises the key of the request, and fetches a canary in the way that the promise names.
//!
//! `prints`, `panics`: tries to leave it in the log. `loops`: never returns. `large-0`
//! and so on: almost the largest value.

use std::hint::black_box;

use ampoule_plugin_sdk::prelude::*;

struct Leaks;

/// What no log may contain.
const CANARY: &str = "zq7canarybird";
/// Bytes of a large value. A call can return 1 MiB.
const LARGE: usize = 1_000_000;

impl Injector for Leaks {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "leaks";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let path = format!("/etc/flyte/secrets/leaks/{}", request.key);
        Ok(vec![Edit::write_file(path, FileSource::promise(&request.key))])
    }

    fn fetch(&self, promise: &str) -> Result<FetchedValue, InjectionError> {
        match promise {
            "prints" => {
                let _ = wasip2::cli::stdout::get_stdout().blocking_write_and_flush(CANARY.as_bytes());
                let _ = wasip2::cli::stderr::get_stderr().blocking_write_and_flush(CANARY.as_bytes());
            }
            "panics" => panic!("{CANARY}"),
            "loops" => loop {
                black_box(CANARY);
            },
            large if large.starts_with("large") => return Ok(FetchedValue::new(CANARY.repeat(LARGE / CANARY.len()))),
            _ => {}
        }
        Ok(FetchedValue::new(CANARY))
    }
}

ampoule_test_guests::guest!(Leaks);
