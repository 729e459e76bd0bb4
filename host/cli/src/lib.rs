//! The command line: definitions in `args`, one module per command in `commands`.
//!
//! [`Args::parse_and_run`] is the whole program; `main` only passes the built-in plugins.

mod args;
mod commands;

pub use self::args::Args;
