//! SDK for Ampoule plugins in Rust: implement [`Injector`], pass the type to [`export!`], and build
//! for WebAssembly.
//!
//! The types are those of the contract (`wit/`). This crate adds typed settings, builders for edits
//! and, on native targets, the test harness [`testing`]. Each API that requires a grant is behind a
//! feature: `http`, `kubernetes-secrets`, `environment`. A complete plugin:
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
//!     const MOUNTS: &'static [MountRequirement] = &[MountRequirement::File];
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
//!         _pod: &PodView,
//!     ) -> Result<Vec<Edit>, InjectionError> {
//!         let volume = SecretVolume::new(&request.group).item(&request.key, &request.key);
//!         let mount = VolumeMount::new("secret", "/secret");
//!         Ok(vec![Edit::add_volume("secret", volume), Edit::mount_volume(mount)])
//!     }
//! }
//!
//! ampoule_plugin_sdk::export!(Files);
//! ```

#[doc(hidden)]
pub mod bindings;
mod edit;
#[cfg(feature = "environment")]
pub mod environment;
#[cfg(all(target_arch = "wasm32", feature = "allocator"))]
mod heap;
#[cfg(feature = "http")]
pub mod http;
pub mod log;
pub mod names;
mod request;
#[doc(hidden)]
pub mod runtime;
#[cfg(feature = "kubernetes-secrets")]
pub mod secrets;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

use serde::de::DeserializeOwned;

pub use self::bindings::ampoule::injector::types::{
    Annotation, AnnotationCollision, ContainerKind, ContainerView, Conventions, CsiVolume, Edit, EnvSource, EnvVar,
    InitContainer, InitContainerPosition, InjectionError, KeyToPath, MemoryVolume, MountRequirement, PluginInfo,
    PodView, Resources, SecretKeyRef, SecretRequest, SecretVolume, SecurityContext, ServiceAccountTokenVolume, Volume,
    VolumeMount, VolumeSource,
};

/// A secret backend. [`export!`] turns it into a component.
///
/// The host creates a fresh instance for each admission and calls `new` once, then `inject` once
/// per secret that the pod requests. After an error, it uses a fresh instance for the next secret.
/// Answers must be deterministic, since the API server may send the same pod twice.
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
    const MOUNTS: &'static [MountRequirement];

    /// JSON schema of [`Injector::Settings`].
    const SETTINGS_SCHEMA: &'static str;

    /// Creates the plugin from its settings. The conventions provide defaults for absent settings.
    ///
    /// # Errors
    ///
    /// The settings are not valid; the host then rejects the plugin at load. The message should
    /// name the key and the values that are valid.
    fn new(settings: Self::Settings, conventions: &Conventions) -> Result<Self, String>;

    /// Answers one request with the edits that put the secret into the pod.
    ///
    /// # Errors
    ///
    /// The reason for not injecting. [`InjectionError`] documents the consequence of each variant.
    fn inject(&self, request: &SecretRequest, pod: &PodView) -> Result<Vec<Edit>, InjectionError>;
}

/// The usual imports of a plugin.
pub mod prelude {
    pub use crate::{
        Annotation, AnnotationCollision, ContainerKind, ContainerView, Conventions, CsiVolume, Edit, EnvSource, EnvVar,
        InitContainer, InitContainerPosition, InjectionError, Injector, KeyToPath, MemoryVolume, MountRequirement,
        PodView, Resources, SecretKeyRef, SecretRequest, SecretVolume, SecurityContext, ServiceAccountTokenVolume,
        Volume, VolumeMount, VolumeSource, log,
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

            impl $crate::runtime::Guest for Component {
                fn describe() -> $crate::PluginInfo {
                    $crate::runtime::describe::<$plugin>()
                }

                fn configure(settings: String, conventions: $crate::Conventions) -> Result<(), String> {
                    INSTANCE.with(|instance| instance.configure(&settings, &conventions))
                }

                fn inject(
                    request: $crate::SecretRequest,
                    pod: $crate::PodView,
                ) -> Result<Vec<$crate::Edit>, $crate::InjectionError> {
                    INSTANCE.with(|instance| instance.inject(&request, &pod))
                }
            }

    $crate::bindings::export_component!(Component with_types_in $crate::bindings);
        };
    };
}

/// Compiles the example in the contract's README as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../../../wit/README.md")]
struct ContractReadme;
