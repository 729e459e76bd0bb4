//! Allocates memory until the allocation fails.
//!
//! The host stops it at its memory limit.

use std::hint::black_box;

use ampoule_plugin_sdk::prelude::*;

struct MemoryEater;

impl Injector for MemoryEater {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "memory-eater";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let mut hoard = Vec::new();
        loop {
            hoard.push(black_box(vec![1_u8; 64 * 1024]));
        }
    }
}

ampoule_test_guests::guest!(MemoryEater);
