//! The process: plugins loaded and reloaded, both ports, and the life cycle from start to drain.
//!
//! [`app::App`] is the whole of it; [`plugins::Loader`] makes pipelines from a configuration, for commands as well.

mod admin;
pub mod app;
pub mod compiler;
pub mod plugins;
mod reload;
