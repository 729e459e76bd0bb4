//! Runs plugins: WebAssembly components that implement the contract in `wit/`, each call in its own
//! sandbox.
//!
//! This is the only crate that depends on wasmtime. [`PluginEngine::load`] turns a component into a
//! [`PluginInjector`], which the core calls like any other injector. [`PluginEngine::run`] runs the
//! code that calls plugins, so that a plugin that never returns takes time only from other plugins,
//! and from those only its share.
//!
//! Every call has a deadline and runs in an instance that serves one plugin and one admission.
//! [`Limits`] bounds everything that a guest can make large. An answer of a guest and a failure of
//! a guest have different types.
//!
//! | module | task |
//! | --- | --- |
//! | `engine` | the public entry point, [`PluginEngine`] |
//! | `plugin` | loads a plugin, and runs its instances for admissions |
//! | `contract` | bindings and conversions, one folder per version of the contract |
//! | `compile` | turns the bytes of a component into code |
//! | `sandbox` | what a guest can use and reach: store, limits, WASI, HTTP, Secrets, log |
//! | `threads` | the threads that guests run on |
//! | `error` | errors of start, load and run |

mod compile;
mod contract;
mod engine;
mod error;
mod plugin;
mod sandbox;
mod threads;

/// Types of the core that are part of this crate's interface.
pub use ampoule_component::CONTRACT_VERSION;
pub use ampoule_core::{
    Call, CallObserver, CallOutcome, ClusterSecrets, ClusterSecretsError, Destination, Grant, LabelledSecrets, Limits,
    PluginObserver, SecretName, Unobserved,
};

#[cfg(feature = "compiler")]
pub use self::compile::in_process::precompile;
pub use self::{
    compile::{
        compiler::{Compiler, CompilerError},
        component::{ComponentBytes, digest},
        portable::PortableFolders,
        wasmtime_config::Allocation,
    },
    contract::info::PluginInfo,
    engine::{EngineConfig, PluginEngine},
    error::{EngineError, LoadError, LoadErrorKind, RunError},
    plugin::{
        fetch::FetchFailure,
        injector::PluginInjector,
        inspect::Inspection,
        load::PluginSpec,
        values::{FetchPlace, FetchedValue, ValueCachePolicy},
    },
    sandbox::{
        grants::{Grants, LabelledGrants},
        log::{GuestLogLevel, PluginLog},
        outbound::{
            answers::{HttpAnswers, LocalHttpError},
            grant::{HttpGrant, RootError},
            resolve::{Resolver, SystemResolver},
        },
    },
};
