//! The process: configuration, TLS, admission, metrics, commands.
//!
//! [`Args::parse_and_run`] is the whole program; `main` only names the built-in plugins. [`Pipeline`] and
//! [`webhook::router`] are what `serve` serves, for tests and benchmarks to drive without a process.

mod admin;
mod app;
mod args;
mod audit;
pub mod certs;
mod cluster;
mod colour;
mod commands;
mod compiler;
mod components;
pub mod config;
mod events;
mod fetch;
mod file;
pub mod global_secrets;
mod grants;
pub mod listener;
pub mod metrics;
mod outbound;
pub mod pipeline;
mod plugins;
pub mod public_key;
pub mod readiness;
mod reason;
mod registration;
mod reload;
pub mod review;
pub mod telemetry;
pub mod tls;
pub mod trace;
mod watch;
pub mod webhook;

pub use self::{
    args::Args,
    metrics::Metrics,
    pipeline::{Outcome, Pipeline, PipelineError, ServingPipeline},
    plugins::{Builtins, PluginState},
    trace::Trace,
};
