//! The program `ampoule`: the server with the built-in plugins.
//!
//! Everything is in `ampoule-server`, which knows no plugin by name; this file is where the two meet.

use std::process::ExitCode;

/// A pod is hundreds of small values, made and freed within microseconds, and a guest that waits takes it to another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ampoule_cli::Args::parse_and_run(ampoule_plugin_bundle::COMPONENTS)
}
