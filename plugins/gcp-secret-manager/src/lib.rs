//! The injector `gcp-secret-manager`: values of Google Secret Manager, fetched with
//! `versions.access`.
//!
//! The group of a request is the name of the secret, the key selects a field of its JSON, and the
//! version is a number or an alias. The host adds the access token (`credential: gcp`), so the
//! plugin sees no credential.
//!
//! The store is in `plugins/store`, which `builtin:embedded` uses too.

use ampoule_plugin_store::{StoreInjector, StorePlugin, gcp::GcpSecretManager};

/// The plugin.
#[derive(Debug)]
pub struct Plugin;

ampoule_plugin_sdk::export!(StoreInjector<Plugin>);

// === impl Plugin ===

impl StorePlugin for Plugin {
    type Store = GcpSecretManager;
    const NAME: &'static str = "gcp-secret-manager";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");
}

#[cfg(test)]
mod tests;
