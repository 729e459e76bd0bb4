//! Errors of starting the engine, of loading a component, and of a run.
//!
//! A *call* fails with [`ampoule_core::InjectorFailure`]; see [`crate::plugin::failure`].

use std::{fmt, path::PathBuf};

pub use ampoule_component::{LoadErrorKind, RunError};

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The directory of the compile cache is not private, or cannot be created.
    #[error("the cache directory {} (engine.cacheDirectory) {reason}", path.display())]
    CacheFolder {
        /// The directory as configured.
        path: PathBuf,
        /// The defect, as a predicate.
        reason: String,
    },
    /// wasmtime rejected its configuration, even without a pool.
    #[error("wasmtime failed to start: {0}")]
    Wasmtime(String),
    /// The threads for guests could not be started.
    #[error("cannot start the threads for plugins: {0}")]
    Threads(#[from] std::io::Error),
}

/// Why a component could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// The plugin's name in the configuration, if it has one.
    pub plugin: Option<String>,
    /// The source of the component, as written in the configuration.
    pub source: Option<String>,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The defect.
    pub kind: LoadErrorKind,
}

// === impl LoadError ===

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.plugin {
            Some(plugin) => write!(f, "plugin {plugin} (")?,
            None => write!(f, "component (")?,
        }
        if let Some(source) = &self.source {
            write!(f, "{source}, ")?;
        }
        let digest = self.digest.get(..12).unwrap_or(&self.digest);
        write!(f, "sha256:{digest}): {}", self.kind)
    }
}

impl std::error::Error for LoadError {}
