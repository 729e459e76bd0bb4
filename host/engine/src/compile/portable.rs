//! [`PortableCode`]: components that were compiled to the bytecode of wasmtime's interpreter.
//!
//! The interpreter runs on every platform, and its code needs no executable memory. It is not
//! safe: bytecode can access the memory of the process like native code. Therefore only the output
//! of [`precompile`](crate::precompile) may be loaded: from a folder whose owner vouches for it, or
//! with the SHA-256 that the process that compiled it states.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use ampoule_core::text::clean;
use wasmtime::{Engine, component::Component};

use super::component::digest;
use crate::error::LoadErrorKind;

/// File extension of portable code. The name is the component's SHA-256 in hexadecimal.
const EXTENSION: &str = "cwasm";
/// Bytes of wasmtime's explanation.
const MAX_MESSAGE: usize = 1 << 10;

/// Where portable code is. A file has the SHA-256 of its component as its name.
#[derive(Clone, Debug, Default)]
pub struct PortableFolders {
    /// Folders that no one changes, such as a part of an image that is named by its digest.
    pub trusted: Vec<PathBuf>,
    /// A folder that others can change.
    pub shipped: PathBuf,
    /// The SHA-256 of each code that is loaded from this folder, by that of its component.
    pub pins: BTreeMap<String, String>,
}

/// Loads portable code.
pub(crate) struct PortableCode {
    engine: Engine,
    folders: PortableFolders,
}

// === impl PortableCode ===

impl PortableCode {
    pub(crate) fn new(engine: Engine, folders: PortableFolders) -> Self {
        Self { engine, folders }
    }

    /// Loads the code of the component with this digest.
    pub(crate) fn load(&self, component: &str) -> Result<Component, LoadErrorKind> {
        let code = match self.folders.pins.get(component) {
            Some(pin) => self.load_pinned(component, pin),
            None => self.load_trusted(component),
        };
        code.map_err(|reason| {
            let text = format!("no code for this component: {reason}");
            LoadErrorKind::Compile(clean(&text, MAX_MESSAGE))
        })
    }

    fn load_trusted(&self, component: &str) -> Result<Component, String> {
        let mut missing = Vec::new();
        for folder in &self.folders.trusted {
            let path = file(folder, component);
            // Before wasmtime reads the file: its error for a missing file has no reason.
            match fs::metadata(&path) {
                Ok(_) => return map(&self.engine, &path),
                Err(error) => missing.push(format!("{}: {error}", folder.display())),
            }
        }
        Err(missing.join(", "))
    }

    /// Reads the code once: others can change the file between two reads.
    fn load_pinned(&self, component: &str, pin: &str) -> Result<Component, String> {
        let path = file(&self.folders.shipped, component);
        let code = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if digest(&code) != pin {
            return Err(format!("{} was changed: its SHA-256 is not that of the webhook's code", path.display()));
        }
        deserialize(&self.engine, &code)
    }
}

fn file(folder: &Path, component: &str) -> PathBuf {
    folder.join(component).with_extension(EXTENSION)
}

#[allow(unsafe_code, reason = "the only way to load compiled code; its caller makes it sound")]
fn map(engine: &Engine, path: &Path) -> Result<Component, String> {
    // SAFETY: the file is the output of `precompile`, which the owner of the folder vouches for: it
    // is part of a container image. The folder is read-only while the process runs. wasmtime checks
    // the version and the settings.
    unsafe { Component::deserialize_file(engine, path) }.map_err(|error| format!("{error:#}"))
}

#[allow(unsafe_code, reason = "the only way to load compiled code; its caller makes it sound")]
fn deserialize(engine: &Engine, code: &[u8]) -> Result<Component, String> {
    // SAFETY: these bytes have the SHA-256 of the output of `precompile` in the webhook. wasmtime
    // checks the version and the settings.
    unsafe { Component::deserialize(engine, code) }.map_err(|error| format!("{error:#}"))
}
