//! What a component can do to the engine, and what the engine makes of it: guests in WebAssembly text, through the public API.
//!
//! Guests of real tool chains are in `tests/sandbox` at the root of the repository; these need no tool chain and no build.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod guests {
    mod calls;
    mod guest;
    mod hostile;
    mod loading;
    mod logging;
    mod wasi;

    use ampoule_core::Profile;
    use ampoule_engine::{EngineConfig, Grants, Limits, PluginEngine, PluginSpec};

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
        }
    }
}
