//! [`PortableCode`]: components that were compiled to the bytecode of wasmtime's interpreter.
//!
//! The interpreter runs on every platform, and its code needs no executable memory. It is not
//! safe: bytecode can access the memory of the process like native code. Therefore only the output
//! of [`precompile`](crate::precompile) may be loaded, which the folder's owner vouches for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ampoule_core::text::clean;
use wasmtime::{Engine, component::Component};

use crate::error::LoadErrorKind;

/// File extension of portable code. The name is the component's SHA-256 in hexadecimal.
const EXTENSION: &str = "cwasm";
/// Bytes of wasmtime's explanation.
const MAX_MESSAGE: usize = 1 << 10;

/// A folder of portable code, which only its owner may write to.
pub(crate) struct PortableCode {
    engine: Engine,
    folder: PathBuf,
}

// === impl PortableCode ===

impl PortableCode {
    pub(crate) fn new(engine: Engine, folder: PathBuf) -> Self {
        Self { engine, folder }
    }

    /// Loads the code of the component with this digest.
    pub(crate) fn load(&self, digest: &str) -> Result<Component, LoadErrorKind> {
        let path = self.folder.join(digest).with_extension(EXTENSION);
        deserialize(&self.engine, &path).map_err(|reason| {
            let text = format!("no code for this component in {}: {reason}", self.folder.display());
            LoadErrorKind::Compile(clean(&text, MAX_MESSAGE))
        })
    }
}

#[allow(unsafe_code, reason = "the only way to load compiled code; its caller makes it sound")]
fn deserialize(engine: &Engine, path: &Path) -> Result<Component, String> {
    // Before wasmtime reads the file: its error for a missing file has no reason.
    fs::metadata(path).map_err(|error| error.to_string())?;
    // SAFETY: the file is the output of `precompile`, which the owner of the folder vouches for:
    // it is part of a container image, or its digest was compared with that of the webhook's
    // output. The folder is read-only while the process runs. wasmtime checks the version and the
    // settings.
    unsafe { Component::deserialize_file(engine, path) }.map_err(|error| format!("{error:#}"))
}
