//! The program `ampoule`: the server with the built-in plugins.
//!
//! Everything is in `ampoule-server`, which knows no plugin by name; this file is where the two meet.

use std::process::ExitCode;

/// A pod is read on one thread, changed on another and freed on a third, which glibc's allocator locks for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ampoule_server::Args::parse_and_run(ampoule_plugin_bundle::COMPONENTS)
}
