//! Load for an HTTPS server that speaks HTTP/1.1, as API servers call webhooks: [`steady()`] sends at a fixed rate whatever becomes of the
//! answers, [`saturate()`] as much as is answered. It knows nothing of what it calls.
//!
//! Both block the thread that calls them, run on threads of their own, and end: after the time and the number of requests that they were
//! given, and the [`Target::timeout`] of what is under way then.

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

/// More connections than this are another kind of test: a process has 1024 file descriptors unless told otherwise.
const MOST_CONNECTIONS: usize = 512;

/// Threads for the connections: a client with fewer than the server has processors would be measured itself.
fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().context("no threads for the load")
}
