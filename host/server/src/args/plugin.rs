//! The command line of what an author does with a plugin: make, build, test and measure it.
//!
//! `inspect` and `push`, which are for admins as well, stand with the other commands.

use std::path::PathBuf;

/// `ampoule plugin test`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// A plugin's folder with plugin.wasm in it, a component's file, or any source that a configuration can name.
    pub(crate) plugin: String,
    /// The folder with the cases; without it, `cases` in the plugin's folder, or beside the component's file.
    #[arg(long, value_name = "DIR")]
    pub(crate) cases: Option<PathBuf>,
    /// Record the answers as those expected, instead of comparing them.
    #[arg(long)]
    pub(crate) bless: bool,
}
