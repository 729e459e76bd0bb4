//! Why a component cannot be loaded: [`LoadErrorKind`], and [`RunError`] for interrupted work.
//!
//! Every message names the configuration key or the build step to change.

use std::time::Duration;

use ampoule_core::Grant;

/// The defect of a component, of its settings or of its environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadErrorKind {
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file is larger than the limit.
    #[error("the file has {size} bytes, more than the limit of {limit} (injectors[].limits.componentMiB)")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The file is not WebAssembly.
    #[error("the file is not WebAssembly: it does not start with \\0asm")]
    NotWasm,
    /// The file is a core module.
    #[error("the file is a core WebAssembly module, not a component: convert it with `wasm-tools component new`")]
    CoreModule,
    /// wasmtime does not know the version of the component format.
    #[error("the file is WebAssembly of an unknown format version {0:#x}")]
    UnknownFormat(u32),
    /// The sections of the file are malformed.
    #[error("the file is not a valid component: {0}")]
    Invalid(String),
    /// The component has too many imports or exports.
    #[error("the component has {count} {what}, more than the limit of {limit}")]
    TooManyNames {
        /// `imports` or `exports`.
        what: &'static str,
        /// Their number.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The component uses disabled WebAssembly proposals.
    #[error("the component uses disabled WebAssembly proposals ({0}): build the plugin without them")]
    SwitchedOff(String),
    /// The settings are too large.
    #[error("the settings have {size} bytes as JSON, more than the limit of {limit} (injectors[].settings)")]
    SettingsSize {
        /// Their size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The compiler process rejected the component, with this message.
    #[error("{0}")]
    Refused(String),
    /// The component is invalid, or the compiler failed.
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    /// The compilation took too long.
    #[error("compiling the component took longer than {} s", .0.as_secs())]
    CompileDeadline(Duration),
    /// The component does not export an injector.
    #[error("the component does not export {wanted}; it exports {found}")]
    NoInjector {
        /// The required export.
        wanted: String,
        /// The actual exports.
        found: String,
    },
    /// The component implements an unsupported version of the contract.
    #[error(
        "the component exports {found}, but this version of Ampoule supports {wanted}: \
         rebuild the plugin against that version"
    )]
    OtherVersion {
        /// The required export.
        wanted: String,
        /// The actual export.
        found: String,
    },
    /// The component has an import that plugins cannot have.
    #[error("the component imports {import}, {needed}")]
    Import {
        /// The import.
        import: String,
        /// The reason and the remedy, as a clause about the import.
        needed: String,
    },
    /// The component has an import that requires a grant, and the plugin lacks the grant.
    #[error("the component imports {import}, which requires the grant {grant}: {}", grant.remedy())]
    NoGrant {
        /// The import.
        import: String,
        /// The grant.
        grant: Grant,
    },
    /// The component imports a function that a later version of the contract adds to an interface.
    #[error(
        "the component imports {function} of {interface}, which this version of Ampoule ({contract}) does not have: \
         upgrade Ampoule, or rebuild the plugin without it"
    )]
    MissingFunction {
        /// The interface.
        interface: String,
        /// The kind of function and its name, such as `method pod.name`.
        function: String,
        /// The contract and its version in this program.
        contract: &'static str,
    },
    /// The types of its imports or exports differ from the contract.
    #[error("the component does not match the contract {contract}: {reason}")]
    Mismatch {
        /// The contract and its version.
        contract: &'static str,
        /// The difference.
        reason: String,
    },
    /// Its instantiation failed.
    #[error("the component failed to start: {0}")]
    Start(String),
    /// `describe` failed.
    #[error("`describe` failed: {0}")]
    Describe(String),
    /// `describe` returned something else than the contract's document.
    #[error("`describe` returned a document that does not match the contract: {0}")]
    Description(String),
    /// `configure` failed.
    #[error("`configure` failed: {0}")]
    Configure(String),
    /// `configure` rejected the settings.
    #[error("the plugin rejected its settings (injectors[].settings): {0}")]
    Settings(String),
    /// `check` failed. A problem that it reports is not a failure.
    #[error("`check` failed: {0}")]
    Check(String),
    /// The engine is shutting down, or its task panicked.
    #[error("loading was interrupted: {0}")]
    Run(RunError),
}

/// Why a run gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The work panicked, which is a defect of Ampoule. The panic's message is on standard error.
    #[error("a task of the plugin engine panicked")]
    Panicked,
    /// The engine is being dropped.
    #[error("the plugin engine is shutting down")]
    ShutDown,
}
