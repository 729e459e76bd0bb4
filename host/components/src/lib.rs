//! The injectors of a configuration and their components: fetched, verified and followed by
//! [`Components`].
//!
//! Injectors come from the configuration and from labelled ConfigMaps. [`fetch`] reads their
//! components from files, ConfigMaps and registries.

pub mod builtins;
mod components;
pub mod fetch;
mod file_digests;
mod injector_config_maps;
mod injector_fetcher;
mod injectors;
mod kept_config_maps;
mod named_config_maps;
mod registry_access;
mod source_version;
mod tag_poller;

pub use self::{
    components::Components,
    injector_fetcher::{FetchRecord, FetchedInjector, InjectorFetcher},
    injectors::ListedInjector,
    kept_config_maps::ConfigMapsByName,
    source_version::SourceVersion,
};
