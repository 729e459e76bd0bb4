//! The interfaces that a plugin imports besides those of the admission: conventions, log, cache and
//! Kubernetes Secrets.
//!
//! Each function converts its arguments and calls the sandbox.

use ampoule_core::SecretName;
use wasmtime::{
    Result,
    component::{HasSelf, Linker},
};

use super::bindings::{
    FetchingPlugin,
    ampoule::injector::{
        cache::Host as CacheHost,
        conventions::Host as ConventionsHost,
        kubernetes_secrets::{Host as SecretsHost, LookupError, SecretKey},
        log::{Host as LogHost, Level},
    },
};
use crate::{
    contract::info::clean_error,
    sandbox::{log::GuestLogLevel, secrets::SecretReadError, store::GuestState},
};

/// Adds the contract's interfaces to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<GuestState>) -> Result<()> {
    FetchingPlugin::add_to_linker::<_, HasSelf<_>>(linker, |state: &mut GuestState| state)
}

impl ConventionsHost for GuestState {
    fn profile(&mut self) -> Result<String> {
        Ok(self.plugin.conventions.profile.as_str().to_owned())
    }

    fn env_prefix(&mut self) -> Result<String> {
        Ok(self.plugin.conventions.env_prefix.clone())
    }

    fn mount_directory(&mut self) -> Result<String> {
        Ok(self.plugin.conventions.mount_directory.clone())
    }
}

impl LogHost for GuestState {
    fn log(&mut self, level: Level, message: String) -> Result<()> {
        self.write_log(log_level(level), &message);
        Ok(())
    }
}

impl CacheHost for GuestState {
    fn get(&mut self, key: String) -> Result<Option<Vec<u8>>> {
        Ok(self.cache_get(&key))
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl_seconds: u32) -> Result<()> {
        self.cache_set(key, value, ttl_seconds);
        Ok(())
    }
}

impl SecretsHost for GuestState {
    async fn read(
        &mut self,
        namespace: String,
        name: String,
        key: String,
    ) -> Result<std::result::Result<Vec<u8>, LookupError>> {
        let value = self.read_secret(SecretName { namespace, name }, key).await;
        Ok(value.map_err(|error| lookup_error(&error)))
    }

    async fn exists(
        &mut self,
        namespace: String,
        name: String,
        key: String,
    ) -> Result<std::result::Result<bool, LookupError>> {
        let exists = self.secret_exists(SecretName { namespace, name }, key).await;
        Ok(exists.map_err(|error| lookup_error(&error)))
    }

    async fn first_existing(&mut self, keys: Vec<SecretKey>) -> Result<std::result::Result<Option<u32>, LookupError>> {
        self.count_items(keys.len())?;
        let keys = keys.into_iter().map(|SecretKey { namespace, name, key }| (SecretName { namespace, name }, key));
        match self.first_existing_secret(keys.collect()).await {
            Ok(position) => Ok(Ok(position.map(u32::try_from).transpose()?)),
            Err(error) => Ok(Err(lookup_error(&error))),
        }
    }
}

fn log_level(level: Level) -> GuestLogLevel {
    match level {
        Level::Debug => GuestLogLevel::Debug,
        Level::Info => GuestLogLevel::Info,
        Level::Warn => GuestLogLevel::Warn,
        Level::Error => GuestLogLevel::Error,
    }
}

fn lookup_error(error: &SecretReadError) -> LookupError {
    match error {
        SecretReadError::Denied(text) => LookupError::Denied(clean_error(text)),
        SecretReadError::NotFound(text) => LookupError::NotFound(clean_error(text)),
        SecretReadError::Unavailable(text) => LookupError::Unavailable(clean_error(text)),
    }
}
