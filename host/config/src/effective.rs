//! The configuration in effect, as a configuration file.
//!
//! Reading it again gives the same [`Config`].

use ampoule_core::EditPermissions;
use serde_json::{Value, json};

use crate::{
    Config, InjectorConfig, edits::EditsSection, file::ConfigFile, global_secrets::GlobalSecretsSection,
    injector::InjectorEntry,
};

/// The text in place of a setting whose meaning only the plugin knows.
const HIDDEN: &str = "(hidden)";

impl Config {
    /// The document with every key and its effective value. Keys of the engine that depend on the
    /// machine are left out unless they were set.
    #[must_use]
    pub fn effective(&self) -> Value {
        let mut document = serde_json::to_value(ConfigFile::from(self)).expect("every key has a JSON form");
        if self.global_secrets.is_none() {
            document["globalSecrets"] = json!({ "enabled": false });
        }
        document
    }

    /// The effective document for readers who may not read the configuration file: the settings of
    /// plugins have only their keys, because only a plugin knows which of them are confidential.
    #[must_use]
    pub fn shown(&self) -> Value {
        let mut document = self.effective();
        for injector in document["injectors"].as_array_mut().into_iter().flatten() {
            hide(&mut injector["settings"]);
        }
        document
    }

    /// The shortest document for this configuration: values that are the default are left out.
    #[must_use]
    pub fn concise(&self) -> Value {
        let mut document = self.effective();
        let mut defaults = defaults(self.conventions.profile.as_str());
        let mount_directory = &self.conventions.mount_directory;
        defaults["plugins"]["configMapEdits"] = edits(&EditPermissions::ordinary(mount_directory));
        for (injector, config) in document["injectors"].as_array_mut().into_iter().flatten().zip(&self.injectors) {
            let mut default = defaults["injectors"][0].clone();
            default["edits"] = edits(&config.component.default_edits(mount_directory));
            prune(injector, &default);
        }
        // The reader should see both even if they are the default.
        for key in ["profile", "injectors"] {
            defaults[key] = Value::Null;
        }
        prune(&mut document, &defaults);
        document
    }
}

// === impl InjectorConfig ===

impl InjectorConfig {
    /// The entry of the injector, as [`Config::shown`] contains it.
    #[must_use]
    pub fn shown(&self) -> Value {
        let mut entry = serde_json::to_value(InjectorEntry::from(self)).expect("every key has a JSON form");
        hide(&mut entry["settings"]);
        entry
    }
}

/// Replaces every value below, and keeps the keys.
fn hide(value: &mut Value) {
    match value {
        Value::Object(entries) => entries.values_mut().for_each(hide),
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => *value = json!(HIDDEN),
    }
}

/// The effective document of an empty file with this profile, and with one injector that has only
/// the keys with defaults.
pub(crate) fn defaults(profile: &str) -> Value {
    let file = format!("{{ profile: {profile}, injectors: [{{ name: x, component: file:x }}] }}");
    let mut defaults = Config::parse(&file, &[]).expect("the defaults are valid").effective();
    let global_secrets = GlobalSecretsSection::default();
    defaults["globalSecrets"] = serde_json::to_value(global_secrets).expect("every key has a JSON form");
    for required in ["name", "component"] {
        if let Value::Object(injector) = &mut defaults["injectors"][0] {
            injector.remove(required);
        }
    }
    defaults
}

fn edits(permissions: &EditPermissions) -> Value {
    serde_json::to_value(EditsSection::from(permissions)).expect("lists of names have a JSON form")
}

/// Removes entries that are equal to the default.
fn prune(document: &mut Value, default: &Value) {
    let Value::Object(entries) = document else { return };
    entries.retain(|key, value| {
        let Some(default) = default.get(key) else { return true };
        let differs = value != default;
        prune(value, default);
        differs
    });
}
