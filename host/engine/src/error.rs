//! Why the engine could not start, a component could not be loaded, or a run gave no result.
//!
//! What a *call* can fail with is [`ampoule_core::InjectorFailure`]; see [`crate::failure`].

use std::{fmt, path::PathBuf, time::Duration};

use crate::grants::Grant;

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The compile cache cannot be trusted or made.
    #[error("the folder for compiled plugins {} {reason}", path.display())]
    CacheFolder {
        /// The folder as configured.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// wasmtime refused its configuration, on demand too.
    #[error("wasmtime does not start: {0}")]
    Wasmtime(String),
    /// No thread could be started for guests.
    #[error("no threads for plugins: {0}")]
    Threads(#[from] std::io::Error),
}

/// A component that is not loaded, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// The plugin's name in the configuration, if it was to be loaded under one.
    pub plugin: Option<String>,
    /// Where the component came from, as the configuration writes it.
    pub source: Option<String>,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// What is wrong.
    pub kind: LoadErrorKind,
}

/// What is wrong with a component.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadErrorKind {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// More bytes than allowed.
    #[error("the file has {size} bytes, more than the limit of {limit} (injectors[].limits.componentMiB)")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Something else than WebAssembly.
    #[error("the file is not WebAssembly: it does not start with \\0asm")]
    NotWasm,
    /// A core module.
    #[error("the file is a core WebAssembly module, not a component: make one of it with `wasm-tools component new`")]
    CoreModule,
    /// A component format that this wasmtime does not know.
    #[error("the file is WebAssembly of an unknown format version {0:#x}")]
    UnknownFormat(u32),
    /// Its parts are not where they should be.
    #[error("the file is no valid component: {0}")]
    Invalid(String),
    /// More imports or exports than any plugin has.
    #[error("the component has {count} {what}, more than the limit of {limit}")]
    TooManyNames {
        /// `imports` or `exports`.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// It uses proposals of WebAssembly that are switched off.
    #[error("the component needs {0} of WebAssembly, which no plugin gets: build the plugin without")]
    SwitchedOff(String),
    /// Settings larger than any plugin needs.
    #[error("the settings have {size} bytes as JSON, more than the limit of {limit} (injectors[].settings)")]
    SettingsSize {
        /// Their size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// What another process that compiles says of a component.
    #[error("{0}")]
    Refused(String),
    /// A component that does not validate.
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    /// Compiling took too long.
    #[error("compiling the component took longer than {} s", .0.as_secs())]
    CompileDeadline(Duration),
    /// No injector among its exports.
    #[error("the component exports no {wanted}; it exports {found}")]
    NoInjector {
        /// The export that is needed.
        wanted: String,
        /// The exports there are.
        found: String,
    },
    /// Another version of the contract.
    #[error("the component exports {found}, and this Ampoule speaks {wanted}: rebuild the plugin against that version")]
    OtherVersion {
        /// The export that is needed.
        wanted: String,
        /// The export that is there.
        found: String,
    },
    /// An import that a plugin does not get.
    #[error("the component imports {import}, {needed}")]
    Import {
        /// The import.
        import: String,
        /// What would be needed for it.
        needed: String,
    },
    /// An import that needs a grant which the plugin was not given.
    #[error("the component imports {import}, which needs the grant {grant}: {}", grant.remedy())]
    NoGrant {
        /// The import.
        import: String,
        /// The grant.
        grant: Grant,
    },
    /// Its imports or exports have other types than the contract says.
    #[error("the component does not fit the contract {contract}: {reason}")]
    Mismatch {
        /// The contract and its version.
        contract: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// It could not be instantiated.
    #[error("the component does not start: {0}")]
    Start(String),
    /// It failed to say what it is.
    #[error("`describe` failed: {0}")]
    Describe(String),
    /// It failed to take its settings.
    #[error("`configure` failed: {0}")]
    Configure(String),
    /// It refused its settings.
    #[error("the settings are refused (injectors[].settings): {0}")]
    Settings(String),
    /// It failed where any answer would have been good.
    #[error("`inject` failed when it was tried with ampoule.dev/trial: {0}")]
    Inject(String),
    /// The engine ends, or failed.
    #[error("loading was broken off: {0}")]
    Run(RunError),
}

/// Why a run gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The work panicked. That is a defect of Ampoule; the panic's own message is on standard error.
    #[error("a task of the plugin engine panicked")]
    Panicked,
    /// The engine is being dropped.
    #[error("the plugin engine is shutting down")]
    ShutDown,
}

// === impl LoadError ===

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plugin, source, digest, kind } = self;
        match plugin {
            Some(plugin) => write!(f, "plugin {plugin}")?,
            None => write!(f, "component")?,
        }
        let source = source.as_deref().map(|source| format!("{source}, ")).unwrap_or_default();
        let digest = digest.get(..12).unwrap_or(digest);
        write!(f, " ({source}sha256:{digest}): {kind}")
    }
}

impl std::error::Error for LoadError {}
