//! SDK for Ampoule plugins in Rust: implement [`Injector`], pass the type to [`export!`], and build
//! for WebAssembly.
//!
//! This crate contains plain types for the contract (`wit/`), typed settings, builders for edits
//! and, on native targets, the test harness [`testing`]. Each API that requires a grant is behind a
//! feature: `http`, `kubernetes-secrets`, `cache`, `environment`. A complete plugin:
//!
//! ```
//! use ampoule_plugin_sdk::prelude::*;
//!
//! struct Files;
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {}
//!
//! impl Injector for Files {
//!     type Settings = Settings;
//!     const NAME: &'static str = "files";
//!     const VERSION: &'static str = env!("CARGO_PKG_VERSION");
//!     const DELIVERIES: &'static [Delivery] = &[Delivery::File];
//!     const SETTINGS_SCHEMA: &'static str =
//!         r#"{"type": "object", "additionalProperties": false}"#;
//!
//!     fn new(_settings: Settings, _conventions: &Conventions) -> Result<Self, String> {
//!         Ok(Self)
//!     }
//!
//!     fn inject(
//!         &self,
//!         request: &SecretRequest,
//!         _pod: &Pod,
//!     ) -> Result<Vec<Edit>, InjectionError> {
//!         let volume = SecretVolume::new(&request.group).item(&request.key, &request.key);
//!         let mount = VolumeMount::new("secret", "/secret");
//!         Ok(vec![Edit::add_volume("secret", volume), Edit::mount_volume(mount)])
//!     }
//! }
//!
//! ampoule_plugin_sdk::export!(Files);
//! ```
//!
//! A plugin that fetches values itself answers with a promise, and implements [`Injector::fetch`].

#[doc(hidden)]
pub mod bindings;
#[cfg(feature = "cache")]
pub mod cache;
mod edit;
#[cfg(feature = "environment")]
pub mod environment;
mod error;
#[cfg(all(target_arch = "wasm32", feature = "allocator"))]
mod heap;
#[cfg(target_arch = "wasm32")]
mod host;
#[cfg(feature = "http")]
pub mod http;
mod init_container;
#[cfg(target_arch = "wasm32")]
mod linked;
pub mod log;
pub mod names;
mod pod;
mod request;
#[doc(hidden)]
pub mod runtime;
#[cfg(feature = "kubernetes-secrets")]
pub mod secrets;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod value;
mod volume;

use serde::de::DeserializeOwned;

pub use self::{
    edit::{Annotation, Edit, EnvSource, EnvVar, FileSource, SecretFile, SecretKeyRef, VolumeMount},
    error::InjectionError,
    init_container::{InitContainer, InitContainerPosition, Resources},
    pod::Pod,
    request::{Conventions, Delivery, SecretRequest},
    value::FetchedValue,
    volume::{CsiVolume, MemoryVolume, SecretVolume, ServiceAccountTokenVolume, Volume, VolumeSource},
};

/// Maximum size of the text of a promise in bytes.
pub const MAX_PROMISE_SIZE: usize = 1024;

/// A secret backend. [`export!`] turns it into a component.
///
/// The host creates a fresh instance for each admission and calls `new` once, then `inject` once
/// per secret that the pod requests. After an error, it uses a fresh instance for the next secret.
/// Answers must be deterministic: the API server may send the same pod twice, and the host may give
/// the same edits to the same requests without a call.
pub trait Injector: Sized + 'static {
    /// The settings. Use `#[serde(deny_unknown_fields, rename_all = "camelCase", default)]`, so
    /// that loading the configuration fails for a misspelt key. The SDK removes values from the
    /// error messages of serde; your own messages should not contain values either, since a value
    /// may be a credential under the wrong key.
    type Settings: DeserializeOwned;

    /// The backend's name, such as `k8s`.
    const NAME: &'static str;

    /// The plugin's version, usually `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;

    /// The supported deliveries, for documentation only.
    const DELIVERIES: &'static [Delivery];

    /// Whether the plugin looks nothing up, and therefore injects every request with a group and a
    /// key. The host then warns about plugins behind it, which get no such request.
    const SERVES_ALL: bool = false;

    /// The names of the options that a pod's author may write for this plugin. A request with
    /// another option is refused.
    const OPTIONS: &'static [&'static str] = &[];

    /// JSON schema of [`Injector::Settings`]: the text of a JSON object.
    const SETTINGS_SCHEMA: &'static str;

    /// Creates the plugin from its settings. The conventions provide defaults for absent settings.
    ///
    /// # Errors
    ///
    /// The settings are not valid; the host then rejects the plugin at load. The message should
    /// name the key and the values that are valid.
    fn new(settings: Self::Settings, conventions: &Conventions) -> Result<Self, String>;

    /// Answers one request with the edits that put the secret into the pod, at least one. The host
    /// applies all of them or none.
    ///
    /// # Errors
    ///
    /// The reason for not injecting. [`InjectionError`] documents the consequence of each variant.
    fn inject(&self, request: &SecretRequest, pod: &Pod) -> Result<Vec<Edit>, InjectionError>;

    /// Fetches the value of a promise ([`EnvSource::promise`]), given its text. The host decides
    /// where and when it runs, so do not rely on what `inject` kept in memory. The call has the
    /// plugin's grants, and its time counts towards the deadline of the request.
    ///
    /// # Errors
    ///
    /// The reason why the value is not available. It is the answer to the pod's request.
    fn fetch(&self, promise: &str) -> Result<FetchedValue, InjectionError> {
        let _ = promise;
        Err(InjectionError::internal("this plugin makes no promises"))
    }

    /// Checks what `new` cannot, such as a login. The host calls it at load, with the plugin's
    /// grants.
    ///
    /// # Errors
    ///
    /// The backend does not work at present. The host reports a warning.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The usual imports of a plugin.
pub mod prelude {
    pub use crate::{
        Annotation, Conventions, CsiVolume, Delivery, Edit, EnvSource, EnvVar, FetchedValue, FileSource, InitContainer,
        InitContainerPosition, InjectionError, Injector, MemoryVolume, Pod, Resources, SecretFile, SecretKeyRef,
        SecretRequest, SecretVolume, ServiceAccountTokenVolume, Volume, VolumeMount, VolumeSource, log,
    };
}

/// Exports a type that implements [`Injector`] from this component.
///
/// On native targets, the macro checks the trait and exports nothing, so that the crate's tests can
/// run.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        const _: $crate::runtime::Instance<$plugin> = $crate::runtime::Instance::new();

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the component's exports are functions with fixed names")]
        const _: () = {
            struct Component;

            thread_local! {
                static INSTANCE: $crate::runtime::Instance<$plugin> = const { $crate::runtime::Instance::new() };
            }

            impl $crate::runtime::injector::Guest for Component {
                fn describe() -> String {
                    $crate::runtime::report_panics();
                    $crate::runtime::describe::<$plugin>()
                }

                fn configure(settings: String) -> Result<(), String> {
                    INSTANCE.with(|instance| $crate::runtime::configure(instance, &settings))
                }

                fn inject(pod: &$crate::runtime::injector::Pod, request: &$crate::runtime::injector::Request) {
                    INSTANCE.with(|instance| $crate::runtime::inject(instance, pod, request))
                }
            }

            impl $crate::runtime::fetcher::Guest for Component {
                fn fetch(promise: &$crate::runtime::fetcher::Promise) {
                    INSTANCE.with(|instance| $crate::runtime::fetch(instance, promise))
                }
            }

            impl $crate::runtime::lifecycle::Guest for Component {
                fn check() -> Result<(), String> {
                    INSTANCE.with(|instance| instance.check())
                }
            }

    $crate::bindings::export_component!(Component with_types_in $crate::bindings);
        };
    };
}

/// Compiles the example in this crate's README as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
