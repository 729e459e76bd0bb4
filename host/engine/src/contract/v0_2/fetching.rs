//! The interface `fetching`: the value of a promise, or the reason for a failure.
//!
//! A guest answers one promise at a time, so the handle carries no data.

use std::time::Duration;

use ampoule_core::{InjectionError, SecretValue};
use wasmtime::{Result, component::Resource};

use super::{
    admission::unavailable,
    bindings::ampoule::injector::fetching::{Host, HostPromise},
};
use crate::{
    contract::info::clean_error,
    sandbox::{
        fetch::{PromiseAnswer, PromiseHandle},
        store::GuestState,
    },
};

impl Host for GuestState {}

impl HostPromise for GuestState {
    fn text(&mut self, _promise: Resource<PromiseHandle>) -> Result<String> {
        Ok(self.promise()?.text.clone())
    }

    fn value(&mut self, _promise: Resource<PromiseHandle>, bytes: Vec<u8>) -> Result<()> {
        // Wrapped first, so that the bytes are wiped even if the answer is too large.
        let size = bytes.len();
        let value = SecretValue::new(bytes);
        self.count_value(size)?;
        self.promise()?.set(Ok(value));
        Ok(())
    }

    fn version(&mut self, _promise: Resource<PromiseHandle>, text: String) -> Result<()> {
        self.promise()?.set_version(text);
        Ok(())
    }

    fn expires_in(&mut self, _promise: Resource<PromiseHandle>, seconds: u32) -> Result<()> {
        self.promise()?.expires_in = Some(Duration::from_secs(seconds.into()));
        Ok(())
    }

    fn not_found(&mut self, _promise: Resource<PromiseHandle>, text: String) -> Result<()> {
        self.fail_promise(InjectionError::NotFound(clean_error(&text)))
    }

    fn unsupported(&mut self, _promise: Resource<PromiseHandle>, text: String) -> Result<()> {
        self.fail_promise(InjectionError::Unsupported(clean_error(&text)))
    }

    fn invalid(&mut self, _promise: Resource<PromiseHandle>, text: String) -> Result<()> {
        self.fail_promise(InjectionError::InvalidRequest(clean_error(&text)))
    }

    fn denied(&mut self, _promise: Resource<PromiseHandle>, text: String) -> Result<()> {
        self.fail_promise(InjectionError::Denied(clean_error(&text)))
    }

    fn unavailable(
        &mut self,
        _promise: Resource<PromiseHandle>,
        text: String,
        retry_after_seconds: Option<u32>,
    ) -> Result<()> {
        self.fail_promise(unavailable(&text, retry_after_seconds))
    }

    fn internal(&mut self, _promise: Resource<PromiseHandle>, text: String) -> Result<()> {
        self.fail_promise(InjectionError::Internal(clean_error(&text)))
    }

    fn drop(&mut self, _promise: Resource<PromiseHandle>) -> Result<()> {
        Ok(())
    }
}

impl GuestState {
    fn fail_promise(&mut self, reason: InjectionError) -> Result<()> {
        self.promise()?.set(Err(reason));
        Ok(())
    }

    /// The current promise. A guest cannot keep a handle beyond the call that lent it, so the error
    /// is a defect of the host.
    fn promise(&mut self) -> Result<&mut PromiseAnswer> {
        self.promise.as_mut().ok_or_else(|| wasmtime::format_err!("there is no promise"))
    }
}
