//! The interfaces that a plugin imports from the contract, implemented for [`GuestState`].
//!
//! Each function converts its arguments and calls the sandbox.

use ampoule_core::SecretName;
use wasmtime::component::{HasSelf, Linker};

use super::{
    bindings::{
        Plugin,
        ampoule::injector::{
            kubernetes_secrets::{Host as SecretsHost, LookupError},
            log::{Host as LogHost, Level},
            types::Host as TypesHost,
        },
    },
    conversion::clean_error,
};
use crate::sandbox::{log::GuestLogLevel, secrets::SecretReadError, store::GuestState};

/// Adds the contract's interfaces to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    Plugin::add_to_linker::<_, HasSelf<_>>(linker, |state: &mut GuestState| state)
}

/// The interface `types` has no functions.
impl TypesHost for GuestState {}

impl LogHost for GuestState {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.write_log(log_level(level), &message);
        Ok(())
    }
}

impl SecretsHost for GuestState {
    async fn read(
        &mut self,
        namespace: String,
        name: String,
        key: String,
    ) -> wasmtime::Result<Result<Vec<u8>, LookupError>> {
        let secret = SecretName { namespace, name };
        let value = self.read_secret(secret, key).await;
        Ok(value.map_err(|error| lookup_error(&error)))
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
