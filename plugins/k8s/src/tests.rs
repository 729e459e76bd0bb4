//! The plugin run natively: names, order and messages of the reference, and what we refuse that it lets through.
//! The settings' schema is checked against the settings' type.

use super::*;

#[test]
fn the_schema_is_that_of_the_settings() {
    let derived = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    let committed: serde_json::Value = serde_json::from_str(K8s::SETTINGS_SCHEMA).unwrap();
    assert_eq!(committed, derived);
}
