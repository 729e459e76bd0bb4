//! The arguments of the commands for plugin authors: `new`, `build`, `test` and `bench`.
//!
//! `inspect` and `push`, which admins use as well, are in the parent module.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum as _;

use super::{TextOutput, registries::RegistryArgs};
use ampoule_telemetry::log::LogLevel;

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
    /// Directory of the plugin: a new one, or an empty one.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Name of the plugin (default: the name of the directory).
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Programming language.
    #[arg(id = "lang", long, value_name = "LANGUAGE")]
    pub(crate) language: Language,
    /// Use the SDK of the language. For rust, SOURCE is the git URL or a local clone of Ampoule's
    /// repository.
    #[arg(long, value_name = "SOURCE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) sdk: Option<String>,
    /// Grants that the plugin uses, separated by commas.
    #[arg(long, value_name = "GRANT", value_delimiter = ',')]
    pub(crate) grants: Vec<ScaffoldGrant>,
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
    /// Lowest level of the plugin's log lines to print below each case (default: `warn`, and only
    /// below a case that failed).
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<LogLevel>,
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

/// A grant that a new plugin uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ScaffoldGrant {
    /// HTTPS requests.
    Http,
    /// Environment variables of the webhook.
    Environment,
    /// Kubernetes Secrets that the webhook reads.
    KubernetesSecrets,
    /// A memory that outlives an admission.
    Cache,
}

// === impl ScaffoldGrant ===

impl ScaffoldGrant {
    /// The import in a plugin's world.
    pub(crate) fn import(self) -> &'static str {
        match self {
            Self::Http => "import wasi:http/outgoing-handler@0.2.0;",
            Self::Environment => "import wasi:cli/environment@0.2.0;",
            Self::KubernetesSecrets => "import ampoule:injector/kubernetes-secrets@0.2.0;",
            Self::Cache => "import ampoule:injector/cache@0.2.0;",
        }
    }

    /// The feature of the Rust SDK.
    pub(crate) fn feature(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Environment => "environment",
            Self::KubernetesSecrets => "kubernetes-secrets",
            Self::Cache => "cache",
        }
    }
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
