//! The injector `azure-key-vault`: values of the secrets of an Azure Key Vault.
//!
//! The group of a request is the name of the secret, the key selects a field of its JSON, and the
//! version is the id of a version. The host adds the access token (`credential: azure`), so the
//! plugin sees no credential.
//!
//! The store is in `plugins/store`, which `builtin:embedded` uses too.

use ampoule_plugin_store::{StoreInjector, StorePlugin, azure::AzureKeyVault};

/// The plugin.
#[derive(Debug)]
pub struct Plugin;

ampoule_plugin_sdk::export!(StoreInjector<Plugin>);

// === impl Plugin ===

impl StorePlugin for Plugin {
    type Store = AzureKeyVault;
    const NAME: &'static str = "azure-key-vault";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");
}

#[cfg(test)]
mod tests;
