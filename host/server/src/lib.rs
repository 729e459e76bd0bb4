//! The serving process: plugins and their reloads, both ports, and the life cycle from start to
//! drain.
//!
//! [`app::App`] is the entry point. [`plugins::Loader`] builds pipelines from a configuration, for
//! `serve` and for other commands.

mod admin;
mod api_server;
pub mod app;
pub mod compiler;
mod console;
mod invalidation;
pub mod plugins;
pub mod policy;
mod reload;
