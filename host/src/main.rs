//! The program `ampoule`: the command line with the built-in plugins.
//!
//! `ampoule-cli` names no plugin; this file passes the built-in plugins to it.

use std::process::ExitCode;

/// The allocator must be fast for many small, short-lived values that move between threads: a pod
/// consists of hundreds of values, and an admission continues on another thread after it waited for
/// a guest.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ampoule_cli::Args::parse_and_run(ampoule_plugin_bundle::COMPONENTS)
}
