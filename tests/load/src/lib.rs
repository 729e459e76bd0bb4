//! Load for an HTTPS server that speaks HTTP/1.1, as API servers call webhooks: [`steady()`] sends
//! at a fixed rate, independent of the answers; [`saturate()`] sends as fast as answers arrive. The
//! library does not depend on the server under test.
//!
//! Both functions block the calling thread, run on threads of their own, and end after the given
//! time and number of requests, plus [`Target::timeout`] for requests in progress.

mod client;
mod report;
mod saturate;
mod steady;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, Result};
use tokio::runtime::{Builder, Runtime};

pub use self::{
    client::{Failure, Reuse, Target},
    report::Report,
    saturate::{Flood, saturate},
    steady::{Plan, steady},
};

/// More connections need another kind of test: a process has 1024 file descriptors by default.
const MOST_CONNECTIONS: usize = 512;

/// Threads for the connections: a client with fewer threads than the server has processors would
/// limit the measurement.
fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().context("no threads for the load")
}
