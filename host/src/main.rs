//! The program `ampoule`: the server with the built-in plugins.
//!
//! Everything is in `ampoule-server`, which knows no plugin by name; this file is where the two meet.

use std::process::ExitCode;

fn main() -> ExitCode {
    ampoule_server::Args::parse_and_run(ampoule_plugin_bundle::COMPONENTS)
}
