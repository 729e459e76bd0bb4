//! The plugins in `tests/authors`, which use every grant through an SDK: several tests use them, so
//! each is built and compiled once.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Result, anyhow};

use super::{repository, run};

/// A plugin in `tests/authors`.
pub(super) struct SharedPlugin {
    pub(super) language: &'static str,
    root: LazyLock<Result<PathBuf, String>>,
}

/// The plugin in JavaScript.
pub(super) static JAVASCRIPT: SharedPlugin =
    SharedPlugin { language: "javascript", root: LazyLock::new(|| build("javascript", "plugin.js")) };

/// The plugin in Python.
pub(super) static PYTHON: SharedPlugin =
    SharedPlugin { language: "python", root: LazyLock::new(|| build("python", "app.py")) };

// === impl SharedPlugin ===

impl SharedPlugin {
    /// Returns the folder that contains the plugin as `my-plugin`. The compilation of its component
    /// is in the cache there.
    pub(super) fn root(&self) -> Result<&Path> {
        self.root.as_deref().map_err(|error| anyhow!("{}: {error}", self.language))
    }

    /// Returns the component.
    pub(super) fn component(&self) -> Result<Vec<u8>> {
        Ok(fs::read(self.root()?.join("my-plugin/plugin.wasm"))?)
    }
}

fn build(language: &str, source: &str) -> Result<PathBuf, String> {
    try_build(language, source).map_err(|error| format!("{error:#}"))
}

fn try_build(language: &str, source: &str) -> Result<PathBuf> {
    // A static is never dropped, so the folder is not a temporary one.
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("authors").join(language);
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(&root)?;
    let grants = "--grants=http,environment,kubernetes-secrets,cache";
    run(&root, &["plugin", "new", "my-plugin", "--lang", language, "--sdk", grants])?;
    fs::copy(repository().join("tests/authors").join(source), root.join("my-plugin").join(source))?;
    run(&root, &["plugin", "build", "my-plugin"])?;
    // Compiles the component.
    run(&root, &["plugin", "inspect", "my-plugin"])?;
    Ok(root)
}
