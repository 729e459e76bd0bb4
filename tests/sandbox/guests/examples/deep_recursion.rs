//! Recurses without end until its stack is exhausted.
//!
//! WebAssembly reports an overflow or an access out of bounds.

use std::hint::black_box;

use ampoule_plugin_sdk::prelude::*;

struct DeepRecursion;

impl Injector for DeepRecursion {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "deep-recursion";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let depth = descend(&[0; 64]);
        Ok(vec![Edit::set_env("DEPTH", EnvSource::literal(depth.to_string()))])
    }

    fn check(&self) -> Result<(), String> {
        Err(format!("the depth is {}", descend(&[0; 64])))
    }
}

/// Never returns, but the addition requires its stack frame.
#[expect(unconditional_recursion, reason = "the purpose of this guest")]
fn descend(frame: &[u64; 64]) -> u64 {
    let next = black_box(frame.map(|n| n + 1));
    descend(&next) + black_box(next[0])
}

ampoule_test_guests::guest!(DeepRecursion);
