//! The port `server.console`: an HTTP API about the webhook's work, and a console in the browser
//! that uses it.
//!
//! A caller sends a token of the Kubernetes API. The API server decides who the caller is and what
//! the caller may see; this crate has no credential of its own. [`ConsoleSource`] is the
//! state of the process, and [`ApiServer`] is the API server with the rights of a caller.

mod api;
mod api_server;
mod body;
mod caller;
mod dry_run;
mod hidden;
mod openapi;
mod permission;
mod query;
mod refusal;
mod source;
mod static_files;
#[cfg(test)]
mod tests;
mod views;

pub use self::{
    api::{ConsoleState, router},
    api_server::{ApiServer, CallerApi},
    caller::CallerToken,
    openapi::document,
    source::{ConsoleSource, DryRunResult},
    views::{
        CallFigures, LatencyView, OutcomeCount, OverviewView, PluginFiguresView, PluginView, PolicyView, RuleView,
        ShadowView,
    },
};
