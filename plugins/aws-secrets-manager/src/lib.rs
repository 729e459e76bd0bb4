//! The injector `aws-secrets-manager`: values of AWS Secrets Manager, fetched with
//! `GetSecretValue`.
//!
//! The group of a request is the name or ARN of the secret, the key selects a field of its JSON,
//! and the version is a version id (a UUID) or a staging label. The host signs the request
//! (`credential: awsSigV4`), so the plugin sees no credential.
//!
//! The store is in `plugins/store`, which `builtin:embedded` uses too.

use ampoule_plugin_store::{StoreInjector, StorePlugin, aws::AwsSecretsManager};

/// The plugin.
#[derive(Debug)]
pub struct Plugin;

ampoule_plugin_sdk::export!(StoreInjector<Plugin>);

// === impl Plugin ===

impl StorePlugin for Plugin {
    type Store = AwsSecretsManager;
    const NAME: &'static str = "aws-secrets-manager";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");
}

#[cfg(test)]
mod tests;
