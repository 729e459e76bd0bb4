//! Running plugins: WebAssembly components that implement the contract in `wit/`, each call in a sandbox of its own.
//!
//! This is the only crate that names wasmtime. [`PluginEngine::load`] turns a component into a [`PluginInjector`], which
//! the core asks like any other injector; [`PluginEngine::run`] is where such work has to run, so that a plugin that never
//! ends takes no time from anything but other plugins, and from those only its share.
//!
//! What holds for every call: a fresh instance per plugin and admission, a deadline, and a bound on everything that a
//! guest can make large ([`Limits`]). A guest's answer and a guest's failure are different types.

mod cache;
mod compile;
mod compiler;
mod component;
mod config;
mod context;
mod contract;
mod convert;
mod engine;
mod error;
mod failure;
mod format;
mod grants;
mod imports;
mod limits;
mod load;
mod log;
mod observer;
mod outbound;
mod plugin;
mod proposals;
mod running;
mod secrets;
mod session;
mod store;
mod text;
mod threads;
mod ticker;
mod wasi;

pub use self::{
    compiler::{Compiler, CompilerError, precompile},
    component::ComponentBytes,
    engine::{Allocation, EngineConfig, PluginEngine},
    error::{EngineError, LoadError, LoadErrorKind, RunError},
    grants::{Grant, Grants, SecretName},
    imports::CONTRACT_VERSION,
    limits::Limits,
    load::{Inspection, PluginInfo, PluginSpec, Trial, digest},
    observer::{Call, CallObserver, CallOutcome, PluginObserver, Unobserved},
    outbound::{Destination, HttpAnswers, HttpGrant, Resolver, RootError, SystemResolver},
    plugin::PluginInjector,
    secrets::{ClusterSecrets, ClusterSecretsError},
    text::clean,
};
