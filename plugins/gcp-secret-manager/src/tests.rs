//! The schema of the settings. The tests of the store are in `plugins/store`.
//!
//! A changed setting must change the committed schema too.

use ampoule_plugin_sdk::Injector as _;
use ampoule_plugin_store::gcp::Settings;
use serde_json::Value;

use super::*;

#[test]
fn the_committed_schema_matches_the_settings() {
    let derived = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    let committed: Value = serde_json::from_str(StoreInjector::<Plugin>::SETTINGS_SCHEMA).unwrap();
    assert_eq!(committed, derived, "settings.schema.json should be:\n{derived:#}");
}
