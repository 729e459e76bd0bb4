//! The arguments of the commands for plugin authors: `new`, `build`, `test` and `bench`.
//!
//! `inspect` and `push`, which admins use as well, are in the parent module.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum as _;

use super::{TextOutput, registries::RegistryArgs};

/// A plugin and the registries that may hold it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PluginArg {
    /// Plugin directory that contains plugin.wasm, component file, or component source such as
    /// builtin:NAME.
    #[arg(value_name = "PLUGIN")]
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) registries: RegistryArgs,
}

/// `ampoule plugin new`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// Name of the plugin and of its new directory.
    pub(crate) name: String,
    /// Programming language.
    #[arg(id = "lang", long, value_name = "LANGUAGE")]
    pub(crate) language: Language,
}

/// `ampoule plugin build`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BuildArgs {
    /// Plugin directory.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
}

/// `ampoule plugin test`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) plugin: PluginArg,
    /// Directory of cases (default: `cases` in the plugin directory or next to the component file).
    #[arg(long, value_name = "DIR")]
    pub(crate) cases: Option<PathBuf>,
    /// Record the answers as the expected ones instead of comparing them.
    #[arg(long)]
    pub(crate) bless: bool,
}

/// `ampoule plugin bench`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) plugin: PluginArg,
    /// Case to run, as for `plugin test` (default: no settings; key `key`, version 1 of group
    /// `group`).
    #[arg(long, value_name = "FILE")]
    pub(crate) case: Option<PathBuf>,
    /// Output format.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOutput,
}

/// A programming language with a plugin template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    /// A crate, built by Cargo.
    Rust,
    /// A module, built by componentize-js.
    Javascript,
    /// A module, built by componentize-py.
    Python,
    /// A source file, built by Zig's C compiler.
    C,
}

// === impl Language ===

impl Language {
    /// The file that identifies a plugin of this language in its directory.
    pub(crate) fn marker_file(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::Javascript => "plugin.js",
            Self::Python => "app.py",
            Self::C => "injector.c",
        }
    }

    /// Detects the language of the plugin in a directory.
    pub(crate) fn detect(folder: &Path) -> anyhow::Result<Self> {
        let all = Self::value_variants();
        let found = all.iter().find(|language| folder.join(language.marker_file()).is_file());
        found.copied().with_context(|| {
            let markers: Vec<_> = all.iter().map(|language| language.marker_file()).collect();
            format!("{} contains no plugin: expected one of {}", folder.display(), markers.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn detects_the_language_of_a_plugin_directory() {
        let folder = tempfile::tempdir().unwrap();
        let error = Language::detect(folder.path()).unwrap_err().to_string();
        let expected = "DIR contains no plugin: expected one of Cargo.toml, plugin.js, app.py, injector.c";
        assert_eq!(error.replace(folder.path().to_str().unwrap(), "DIR"), expected);
        fs::write(folder.path().join("app.py"), "").unwrap();
        assert_eq!(Language::detect(folder.path()).unwrap(), Language::Python);
    }
}
