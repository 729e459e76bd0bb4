//! The command line of what an author does with a plugin: make, build, test and measure it.
//!
//! `inspect` and `push`, which are for admins as well, stand with the other commands.

use std::path::PathBuf;

use super::{TextOutput, registries::RegistryArgs};

/// A plugin to look at.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PluginArg {
    /// A plugin's folder with plugin.wasm in it, a component's file, or any source that a configuration can name, such as
    /// builtin:NAME.
    #[arg(value_name = "PLUGIN")]
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) registries: RegistryArgs,
}

/// `ampoule plugin new`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// The plugin's name, and that of the folder that is made for it.
    pub(crate) name: String,
    /// The language to write it in.
    #[arg(id = "lang", long, value_name = "LANGUAGE")]
    pub(crate) language: Language,
}

/// `ampoule plugin build`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BuildArgs {
    /// The plugin's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
}

/// `ampoule plugin test`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) plugin: PluginArg,
    /// The folder with the cases; without it, `cases` in the plugin's folder, or beside the component's file.
    #[arg(long, value_name = "DIR")]
    pub(crate) cases: Option<PathBuf>,
    /// Record the answers as those expected, instead of comparing them.
    #[arg(long)]
    pub(crate) bless: bool,
}

/// `ampoule plugin bench`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) plugin: PluginArg,
    /// The case to ask, as for `plugin test`; without it, no settings and key `key` of version 1 of group `group`.
    #[arg(long, value_name = "FILE")]
    pub(crate) case: Option<PathBuf>,
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: TextOutput,
}

/// A language that the kit knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    /// A crate, built by cargo.
    Rust,
    /// A module, built by componentize-js.
    Javascript,
    /// A module, built by componentize-py.
    Python,
    /// A source file, built by Zig's C compiler.
    C,
}
