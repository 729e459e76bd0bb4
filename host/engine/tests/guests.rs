//! Tests of the engine through its public API, with guests in WebAssembly text.
//!
//! These guests need no tool chain and no build. Guests of real tool chains are in `tests/sandbox`
//! at the root of the repository.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod guests {
    mod calls;
    mod guest;
    mod hostile;
    mod linking;
    mod loading;
    mod logging;
    mod wasi;

    use ampoule_core::Profile;
    use ampoule_engine::{EngineConfig, FetchPlace, Grants, Limits, PluginEngine, PluginSpec, ValueCachePolicy};

    fn engine() -> PluginEngine {
        PluginEngine::new(EngineConfig { max_concurrent: 8, ..EngineConfig::default() }).unwrap()
    }

    fn spec(component: Vec<u8>, limits: Limits) -> PluginSpec {
        PluginSpec {
            name: "wat".to_owned(),
            source: "file:/plugins/wat.wasm".to_owned(),
            component: component.into(),
            settings: serde_json::json!({}),
            conventions: Profile::FlyteV1.conventions(),
            limits,
            grants: Grants::default(),
            value_cache: ValueCachePolicy::default(),
            fetch_place: FetchPlace::Here,
            strict_grants: false,
        }
    }
}
