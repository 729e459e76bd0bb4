//! What [`export!`](crate::export) expands to: the plugin of one instance, and the three calls of the contract on it.
//!
//! Public for the macro only; authors need nothing of it.

use std::cell::OnceCell;

use serde::de::DeserializeOwned;

pub use crate::bindings::exports::ampoule::injector::injector::Guest;
use crate::{Conventions, Edit, InjectionError, Injector, PluginInfo, PodView, SecretRequest};

/// The plugin of one component instance: empty until the host has called `configure`.
#[derive(Debug)]
pub struct Instance<P>(OnceCell<P>);

// === impl Instance ===

impl<P: Injector> Instance<P> {
    /// An instance that is not configured yet.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "must be const")]
    pub const fn new() -> Self {
        Self(OnceCell::new())
    }

    /// Reads the settings and makes the plugin.
    ///
    /// # Errors
    ///
    /// The settings are not what the plugin wants, or the instance has been configured before.
    pub fn configure(&self, settings: &str, conventions: &Conventions) -> Result<(), String> {
        let plugin = P::new(parse(settings)?, conventions)?;
        self.0.set(plugin).map_err(|_| "configure was called twice on one instance".to_owned())
    }

    /// Asks the plugin.
    ///
    /// # Errors
    ///
    /// The plugin's own, and `internal` where the host did not call `configure`.
    pub fn inject(&self, request: &SecretRequest, pod: &PodView) -> Result<Vec<Edit>, InjectionError> {
        match self.0.get() {
            Some(plugin) => plugin.inject(request, pod),
            None => Err(InjectionError::internal("inject was called before configure")),
        }
    }
}

/// What the plugin says about itself.
#[must_use]
pub fn describe<P: Injector>() -> PluginInfo {
    PluginInfo {
        name: P::NAME.to_owned(),
        version: P::VERSION.to_owned(),
        mounts: P::MOUNTS.to_vec(),
        settings_schema: P::SETTINGS_SCHEMA.to_owned(),
    }
}

/// Reads settings; the message begins with the path of the key.
fn parse<T: DeserializeOwned>(settings: &str) -> Result<T, String> {
    // serde would take a list for a struct, field by field.
    if !settings.trim_start().starts_with('{') {
        return Err("settings must be a JSON object".to_owned());
    }
    let mut deserializer = serde_json::Deserializer::from_str(settings);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(value)
}
