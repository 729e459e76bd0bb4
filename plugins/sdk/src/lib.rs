//! Write an Ampoule plugin in Rust: implement [`Injector`], name the type in [`export!`], build for WebAssembly.
//!
//! The types are the contract's own (`wit/`); this crate adds typed settings, builders for edits and, off WebAssembly, the
//! test harness [`testing`]. What an admin has to grant is behind features: `http`, `kubernetes-secrets`, `environment`. A whole
//! plugin:
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
//!     const SETTINGS_SCHEMA: &'static str = r#"{"type": "object", "additionalProperties": false}"#;
//!
//!     fn new(_settings: Settings, _conventions: &Conventions) -> Result<Self, String> {
//!         Ok(Self)
//!     }
//!
//!     fn inject(&self, request: &SecretRequest, _pod: &PodView) -> Result<Vec<Edit>, InjectionError> {
//!         let volume = SecretVolume::new(&request.group).item(&request.key, &request.key);
//!         Ok(vec![Edit::add_volume("secret", volume), Edit::mount_volume(VolumeMount::new("secret", "/secret"))])
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

/// A secret backend. Make it a component with [`export!`].
///
/// The host makes a fresh instance per admission: `new` once, then `inject` once per secret that the pod asks for. After an
/// error, the next secret is asked of another fresh one.
/// Answers must be deterministic, since the API server may ask twice about one pod.
pub trait Injector: Sized + 'static {
    /// The settings. Put `#[serde(deny_unknown_fields, rename_all = "camelCase", default)]` on them, so that a
    /// misspelt key is refused when the configuration is loaded. What serde says of a wrong value is shown without the value; do
    /// the same in messages of your own, for it may be a credential at the wrong key.
    type Settings: DeserializeOwned;

    /// The backend's name, such as `k8s`.
    const NAME: &'static str;

    /// The plugin's version; `env!("CARGO_PKG_VERSION")` is right most of the time.
    const VERSION: &'static str;

    /// What it supports, for people to read.
    const MOUNTS: &'static [MountRequirement];

    /// JSON schema of [`Injector::Settings`].
    const SETTINGS_SCHEMA: &'static str;

    /// Takes the settings; what they are silent about comes from the conventions.
    ///
    /// # Errors
    ///
    /// The settings make no sense. Name the key and say what it should be: the text refuses the plugin at load.
    fn new(settings: Self::Settings, conventions: &Conventions) -> Result<Self, String>;

    /// Answers one request with the edits that put the secret into the pod.
    ///
    /// # Errors
    ///
    /// Why there is nothing to inject; what follows from which arm is said at [`InjectionError`].
    fn inject(&self, request: &SecretRequest, pod: &PodView) -> Result<Vec<Edit>, InjectionError>;
}

/// Everything that a plugin needs in scope.
pub mod prelude {
    pub use crate::{
        Annotation, AnnotationCollision, ContainerKind, ContainerView, Conventions, CsiVolume, Edit, EnvSource, EnvVar,
        InitContainer, InitContainerPosition, InjectionError, Injector, KeyToPath, MemoryVolume, MountRequirement,
        PodView, Resources, SecretKeyRef, SecretRequest, SecretVolume, SecurityContext, ServiceAccountTokenVolume,
        Volume, VolumeMount, VolumeSource, log,
    };
}

/// Makes a type that implements [`Injector`] the one that this component exports.
///
/// Off WebAssembly it checks the trait and exports nothing, so that the crate's tests run as they are.
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

/// Compiles the example in the contract's introduction.
#[cfg(doctest)]
#[doc = include_str!("../../../wit/README.md")]
struct ContractReadme;
