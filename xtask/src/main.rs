//! The project's own commands: `cargo xtask` lists them.
//! Developers and continuous integration use the same commands; each command finds or installs the
//! tools that it needs.

mod args;
mod bench;
mod bless;
mod budget;
mod check;
mod demo;
mod docs;
mod fuzz;
mod image;
mod job;
mod plugins;
mod progress;
mod release;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    args::Args::parse_and_run()
}
