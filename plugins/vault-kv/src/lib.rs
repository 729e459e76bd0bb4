//! The injector `vault-kv`: values of the KV secrets engines of HashiCorp Vault and OpenBao.
//!
//! The group of a request is the path of the secret, the key is the key at that path, and the
//! version is a number. The host adds the token (`credential: vault`), so the plugin sees no
//! credential. `builtin:vault` differs: it delegates to Vault's own injector.
//!
//! The store is in `plugins/store`.

use ampoule_plugin_store::{StoreInjector, StorePlugin, vault::VaultKv};

/// The plugin.
#[derive(Debug)]
pub struct Plugin;

ampoule_plugin_sdk::export!(StoreInjector<Plugin>);

// === impl Plugin ===

impl StorePlugin for Plugin {
    type Store = VaultKv;
    const NAME: &'static str = "vault-kv";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");
}

#[cfg(test)]
mod tests;
